"""Pushing events from an asyncio service: a send ends when Kafka has the event, and the event loop never waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

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
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

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
        if not self._ready:
            await asyncio.to_thread(lambda: self._events._program)  # asks the registry, once
            self._ready = True
        key, value = self._events._encode(event)
        at = 0 if timestamp is None else milliseconds(timestamp)
        loop = asyncio.get_running_loop()
        delivered: asyncio.Future[Message] = loop.create_future()

        def told(error: KafkaError | None, message: Message) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, delivered, error, message)

        def offer() -> bool:
            sender = self._events._sender
            return sender.offer(self._events._topic, key, value, headers=headers, timestamp=at, on_delivery=told)

        await self._hand_over(loop, offer)
        return await delivered

    async def _hand_over(self, loop: asyncio.AbstractEventLoop, offer: Callable[[], bool]) -> None:
        """Wait for room; those who wait go in the order in which they came."""
        turn = self._turns.setdefault(loop, asyncio.Lock())
        if not turn.locked() and offer():
            return
        try:
            async with asyncio.timeout(self._events._wait), turn:
                while not offer():
                    await asyncio.sleep(PAUSE_S)
        except TimeoutError:
            raise full(self._events._topic, self._events._wait, "the event was not sent") from None

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


def _settle(delivered: asyncio.Future[Message], error: KafkaError | None, message: Message) -> None:
    if delivered.done():
        return
    if error is None:
        delivered.set_result(message)
    else:
        delivered.set_exception(Unavailable(f"the event was not delivered to {message.topic()}: {error.str()}"))
