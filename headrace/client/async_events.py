"""Pushing events from an asyncio service: a send ends when Kafka has the event, and the event loop never waits."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, Message

from headrace.client.events import FLUSH_S, EventProducer, milliseconds
from headrace.errors import Unavailable
from headrace.kafka.log import Headers
from headrace.kafka.reports import full

PAUSE_S = 0.005


class AsyncEventProducer:
    """Sends raw events of one pipeline from coroutines, which may share it; any number of sends may be under way.

    Args:
        events: the producer that it sends through, which may be used beside it. It is closed with this one.

    Example::

        async with client.async_events as events:
            delivered = await events.send({"flight_id": "UA1545", "origin": "EWR", ...})
            print(delivered.partition(), delivered.offset())
    """

    def __init__(self, events: EventProducer) -> None:
        self._events = events
        self._ready = False
        self._loops: dict[asyncio.AbstractEventLoop, _Waiting] = {}

    async def send(
        self,
        event: Mapping[str, Any],
        *,
        headers: Headers | None = None,
        timestamp: datetime | int | None = None,
    ) -> Message:
        """Send one event and wait until Kafka has it. While the client's queue is full, only this coroutine waits.

        Events sent one after the other, each awaited, cost a round trip each: send many with ``asyncio.gather``.
        Cancelling it while the queue is full leaves the event unsent; afterwards Kafka may get it all the same.

        Args:
            event, headers, timestamp: see :meth:`EventProducer.send`.

        Returns:
            The record as confluent-kafka tells it: ``partition()``, ``offset()``, ``timestamp()``.

        Raises:
            SchemaError: the event does not fit the schema exactly; the message names the field. Nothing was sent.
            Unavailable: Kafka did not take it in time, the client's queue stayed full, or the registry is away.
            HeadraceError: the event is too large, or the producer is closed. Nothing was sent.
        """
        events, waiting, deadline = self._events, self._waiting(), time.monotonic() + self._events._wait
        at = 0 if timestamp is None else milliseconds(timestamp)
        delivered: asyncio.Future[Message] = waiting.loop.create_future()
        told = partial(waiting.told, delivered)
        async with waiting.turn:  # in the order in which they came, and fair: most often nobody is there
            if not self._ready:
                await asyncio.to_thread(lambda: events._program)  # asks the registry, once
                self._ready = True
            key, value = events._encode(event)
            while not events._sender.offer(events._topic, key, value, headers=headers, timestamp=at, on_delivery=told):
                if time.monotonic() >= deadline:
                    raise full(events._topic, events._wait, "the event was not sent")
                await asyncio.sleep(PAUSE_S)
        return await delivered

    def _waiting(self) -> _Waiting:
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            going = {other: waiting for other, waiting in self._loops.items() if not other.is_closed()}
            self._loops = going | {loop: _Waiting(loop)}
        return self._loops[loop]

    async def flush(self, timeout: float = FLUSH_S) -> None:
        """Wait until Kafka has everything that was sent.

        Raises:
            Unavailable: some was not delivered in time; the message says how much.
        """
        await asyncio.to_thread(self._events.flush, timeout)

    async def close(self, timeout: float = FLUSH_S) -> None:
        """Flush, and send no more; again does nothing.

        Raises:
            Unavailable: some was not delivered in time. It is closed all the same.
        """
        await asyncio.to_thread(self._events.close, timeout)

    async def __aenter__(self) -> AsyncEventProducer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Waiting:
    """The sends of one event loop: whose turn it is when the queue is full, and the deliveries to tell them of.

    The loop is woken once for all deliveries that came meanwhile: waking it costs more than a delivery.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.turn = asyncio.Lock()
        self._due: deque[tuple[asyncio.Future[Message], KafkaError | None, Message]] = deque()
        self._woken = False

    def told(self, delivered: asyncio.Future[Message], error: KafkaError | None, message: Message) -> None:
        """From another thread: a record was delivered, or given up."""
        self._due.append((delivered, error, message))
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop is closed, and nobody waits
                self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._woken = False  # first: what comes from here on wakes the loop again
        while self._due:
            delivered, error, message = self._due.popleft()
            if delivered.done():
                continue
            if error is None:
                delivered.set_result(message)
            else:
                why = f"the event was not delivered to {message.topic()}: {error.str()}"
                delivered.set_exception(Unavailable(why))
