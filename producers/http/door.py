"""One pipeline's events on their way to raw: each handed over once, told when Kafka has it, repeats recognised."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from confluent_kafka import KafkaError

from headrace.errors import HeadraceError
from headrace.kafka.log import LARGEST
from headrace.producers.http.ids import HEADER, Ids, Sent, Waiter
from headrace.producers.http.limits import Limits
from headrace.producers.http.problem import Problem
from headrace.topics.pipeline_topics import PipelineTopics

log = logging.getLogger("headrace.http")

POLL_S = 0.001
SLACK_S = 60.0
"""How much longer than the span the log is read back at a start: the clocks of two machines differ."""
_REFUSED = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError._MSG_SIZE_TOO_LARGE if hasattr(KafkaError, "_MSG_SIZE_TOO_LARGE") else KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.POLICY_VIOLATION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}
"""Errors after which it is sure that Kafka does not have the record."""

Headers = list[tuple[str, str | bytes | None]]


class Event(NamedTuple):
    """An event as a record: its key, its value, its id (empty: none) and more headers of the record."""

    key: bytes
    value: bytes
    id: str = ""
    headers: Headers = []  # noqa: RUF012 - never changed


class Taken(NamedTuple):
    """An event that was handed over, and whether it had been before."""

    sent: Sent
    repeated: bool


class Door:
    """Takes events of one pipeline. Used by one event loop.

    Args:
        topics: the pipeline's topics.
        limits: of the server.
        broken: called when the client cannot go on: whether its last records were written is known after a restart.
    """

    def __init__(
        self, topics: PipelineTopics, limits: Limits, broken: Callable[[str], object] = lambda _: None
    ) -> None:
        self.topics = topics
        self._limits = limits
        self._broken = broken
        self._topic = topics.topic("raw")
        topics.prepare("raw")
        self.ids = Ids(limits.remember_s, limits.remembered)
        self._remember()
        self._sender = topics.log.polled_sender("headrace-http")
        self._offer = self._sender.offer
        self._waiters: deque[Waiter] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._polling = False
        # The client's own count holds more than records: what it says of brokers, too.
        self._waiting = 0
        self._moved = 0.0
        """When Kafka last took something, or was last owed nothing."""
        self.trouble = ""
        """Why the client cannot go on; empty: it can."""
        self.delivered = 0
        self.failed = 0
        self.repeated = 0

    @property
    def waiting(self) -> int:
        """Records that Kafka does not have yet."""
        return self._waiting

    def away_s(self) -> float:
        """Seconds for which Kafka has taken nothing of what waits for it; 0: it takes."""
        idle = time.monotonic() - self._moved
        return idle if self._moved and idle > self._limits.away_s and self._waiting else 0.0

    def take(self, events: Sequence[Event]) -> tuple[list[Taken | Problem], Waiter]:
        """Hand events over, and give for each what became of it, and what waits for all of them.

        Raises:
            Problem: 503, with nothing sent: Kafka is away, its queue is full, or the memory of ids is.
        """
        loop = self._loop or self._started()
        now = time.monotonic()
        waiter = Waiter(loop.create_future(), now + self._limits.answer_s)
        if ids := [e.id for e in events if e.id]:
            self.ids.make_room(ids)
        if not all(e.id and self.ids.find(e.id) for e in events):
            self._check_room(len(events), now)
        found: list[Taken | Problem] = []
        for event in events:
            try:
                taken = self._take(event)
            except Problem as e:
                found.append(e)
                continue
            if taken.sent.offset < 0 and taken.sent.error is None:
                waiter.left += 1
                taken.sent.waiters.append(waiter)
            found.append(taken)
        if waiter.left:
            self._waiters.append(waiter)
            if not self._polling:
                self._polling = True
                loop.call_later(POLL_S, self._poll)
        else:
            waiter.future.set_result(True)
        return found, waiter

    def take_one(self, event: Event) -> tuple[Taken, Waiter | None]:
        """Hand one event over, and give what waits for it; None: Kafka has it already.

        Raises:
            Problem: what :meth:`take` raises, and what it tells of an event.
        """
        loop = self._loop or self._started()
        now = time.monotonic()
        if event.id:
            self.ids.make_room((event.id,))
        if not event.id or self.ids.find(event.id) is None:
            self._check_room(1, now)
        taken = self._take(event)
        sent = taken.sent
        if sent.offset >= 0 or sent.error is not None:
            return taken, None
        waiter = Waiter(loop.create_future(), now + self._limits.answer_s)
        waiter.left = 1
        sent.waiters.append(waiter)
        self._waiters.append(waiter)
        if not self._polling:
            self._polling = True
            loop.call_later(POLL_S, self._poll)
        return taken, waiter

    def rest(self) -> None:
        """Take what the client says while nothing is sent."""
        if not self._polling:
            self._sender.poll()

    def close(self, timeout: float) -> None:
        """Wait until Kafka has everything.

        Raises:
            HeadraceError: some it has not; the message says how many.
        """
        left = self._sender.close(timeout)
        if left:
            raise HeadraceError(f"{left} records were not delivered to {self._topic} in {timeout:g} s")

    def _take(self, event: Event) -> Taken:
        key, value, id, headers = event
        sent = Sent(self._settled, id or None, None)
        if id:
            sent.mark = hash(value)
            before = self.ids.find(id)
            if before is not None:
                if before.mark is not None and before.mark != sent.mark:
                    raise Problem(
                        409, "id_conflict", "another event was sent under this id: give each event an id of its own"
                    )
                self.repeated += 1
                return Taken(before, True)
            headers = [*headers, (HEADER, id.encode())]
        if len(value) + len(key) > LARGEST:
            raise Problem(413, "too_large", f"the record has {len(value):,} bytes, and may have {LARGEST:,}")
        try:
            room = self._offer(self._topic, key, value, headers, sent.told)
        except HeadraceError as e:
            self._breaks(str(e))
            raise Problem(503, "unavailable", str(e), retry_after=5) from None
        if not room:
            raise _full()
        self._waiting += 1
        if id:
            self.ids.add(sent)
        return Taken(sent, False)

    def _check_room(self, count: int, now: float) -> None:
        if self.trouble:
            raise Problem(503, "unavailable", self.trouble, retry_after=5)
        waiting = self._waiting
        if not waiting:
            self._moved = now
        elif now - self._moved > self._limits.away_s:
            told = f"Kafka has taken nothing for {now - self._moved:.0f} s; nothing was sent"
            raise Problem(503, "kafka_away", told, retry_after=5)
        if waiting + count > self._limits.waiting:
            raise _full()

    def _started(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        return self._loop

    def _poll(self) -> None:
        if self._sender.poll():
            self._moved = time.monotonic()
        waiters = self._waiters
        while waiters and waiters[0].future.done():
            waiters.popleft()
        if waiters:
            now = time.monotonic()
            while waiters and waiters[0].deadline < now:
                late = waiters.popleft()
                if not late.future.done():
                    late.future.set_result(False)
        self._polling = bool(waiters) or self._waiting > 0
        if self._polling:
            assert self._loop is not None
            self._loop.call_later(POLL_S, self._poll)

    def _settled(self, sent: Sent) -> None:
        self._waiting -= 1
        if sent.error is None:
            self.delivered += 1
            return
        self.failed += 1
        if sent.error.code() in _REFUSED:
            self.ids.forget(sent)
        else:
            self._breaks(f"Kafka's client gave up a record, which may have been written or not: {sent.error.str()}")

    def _breaks(self, why: str) -> None:
        if not self.trouble:
            self.trouble = why
            log.error("%s; this server ends", why)
            self._broken(why)

    def _remember(self) -> None:
        """Read the ids of the last span from the log."""
        since = datetime.now(UTC) - timedelta(seconds=self._limits.remember_s + SLACK_S)
        header = self.topics.codec("raw").header()
        began = time.monotonic()
        found = sorted(self.topics.log.headed(self._topic, HEADER, since), key=lambda r: r.timestamp)
        for record in found:
            value = record.value or b""
            sent = Sent(self._settled, record.header.decode(errors="replace"), None)
            # Another schema writes one event in another way.
            sent.mark = hash(value) if value.startswith(header) else None
            sent.partition, sent.offset = record.tp.partition, record.offset
            if self.ids.find(sent.id or "") is None:
                self.ids.add(sent, record.timestamp / 1000)
        if found:
            log.info("%s: %d ids remembered from the log in %.1f s", self._topic, len(found), time.monotonic() - began)


def _full() -> Problem:
    return Problem(503, "queue_full", "too many events wait for Kafka; this one was not sent", retry_after=1)


def told_of(taken: Taken | Problem) -> dict[str, Any]:
    """What became of an event, as JSON has it: for one that Kafka has, or that was refused."""
    if isinstance(taken, Problem):
        return taken.told()
    sent = taken.sent
    if sent.error is not None:
        return Problem(502, "kafka_refused", f"Kafka refused the event: {sent.error.str()}").told()
    if sent.offset < 0:
        return LATE.told()
    told: dict[str, Any] = {"status": 200, "partition": sent.partition, "offset": sent.offset}
    return {**told, "repeated": True} if taken.repeated else told


LATE = Problem(
    503,
    "not_yet",
    "Kafka does not have the event yet, and may get it later: repeat it under the same id, or it may come twice",
    retry_after=5,
)
