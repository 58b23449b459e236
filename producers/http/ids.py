"""The ids of events sent in the last minutes, with what became of each: how a repeat is recognised and answered."""

from __future__ import annotations

import time
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, Message

from headrace.producers.http.problem import Problem

HEADER = "headrace-id"
"""Header of a record that holds the id of its event."""
SEPARATOR = "\x1f"
"""Between the caller, the id, and the index of an event in its request."""


class Waiter:
    """A request that waits until Kafka has its events."""

    __slots__ = ("deadline", "future", "left")

    def __init__(self, future: Future[bool], deadline: float) -> None:
        self.future = future
        self.deadline = deadline
        self.left = 0

    def one_less(self) -> None:
        """One of its events was delivered, or refused."""
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result(True)


class Sent:
    """An event that was handed to Kafka's client.

    Attributes:
        partition, offset: of its record, once Kafka has it; offset -1 before.
        error: why Kafka did not take it.
        mark: tells two events of one id apart; None: not known.
        waiters: requests that wait for it.
    """

    __slots__ = ("error", "id", "mark", "offset", "partition", "settled", "waiters")

    def __init__(self, settled: Callable[[Sent], None], id: str | None, mark: int | None) -> None:
        self.settled = settled
        self.id = id
        self.mark = mark
        self.partition = self.offset = -1
        self.error: KafkaError | None = None
        self.waiters: list[Waiter] = []

    def told(self, error: KafkaError | None, message: Message) -> None:
        """What Kafka said of it."""
        if error is None:
            self.partition, self.offset = message.partition(), message.offset()  # type: ignore[assignment]
        else:
            self.error = error
        waiters, self.waiters = self.waiters, []
        self.settled(self)
        for waiter in waiters:
            waiter.one_less()


class Ids:
    """Ids -> what was sent under them, for a span of time.

    Args:
        span_s: seconds for which an id is remembered.
        most: ids remembered at once.
    """

    def __init__(self, span_s: float, most: int, clock: Callable[[], float] = time.time) -> None:
        self._span_s = span_s
        self._most = most
        self._clock = clock
        self._known: dict[str, Sent] = {}
        self._by_age: deque[tuple[float, Sent]] = deque()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, id: str) -> Sent | None:
        """What was sent under an id within the span."""
        return self._known.get(id)

    def add(self, sent: Sent, at: float | None = None) -> None:
        """Remember what is sent under ``sent.id``, from ``at`` (seconds since 1970; None: now)."""
        assert sent.id is not None
        self._known[sent.id] = sent
        self._by_age.append((self._clock() if at is None else at, sent))

    def forget(self, sent: Sent) -> None:
        """Kafka does not have it, and never will: a repeat sends it."""
        if sent.id is not None and self._known.get(sent.id) is sent:
            del self._known[sent.id]

    def make_room(self, ids: Sequence[str]) -> None:
        """Forget what is older than the span, and see that those of these ids that are not known can be remembered.

        Raises:
            Problem: 503: too many were sent within the span, none of which may be forgotten yet.
        """
        now = self._clock()
        while self._by_age and (self._by_age[0][0] < now - self._span_s or self._by_age[0][1].error is not None):
            sent = self._by_age[0][1]
            if sent.offset < 0 and sent.error is None:  # on its way still: its repeat must find it
                break
            self._by_age.popleft()
            self.forget(sent)
        new = sum([id not in self._known for id in ids])
        if new and len(self._by_age) + new > self._most:
            oldest = self._by_age[0][0] if self._by_age else now
            wait = max(1, min(60, int(oldest + self._span_s - now) + 1))
            raise Problem(
                503,
                "ids_full",
                f"{self._most:,} ids of the last {self._span_s:g} s are remembered, and there is no room for more: "
                "nothing was sent; try again later, or raise --remembered",
                retry_after=wait,
            )
