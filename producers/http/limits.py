"""How much a server takes: of one request, of one caller, and of all at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from headrace.producers.http.problem import Problem


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Attributes:
        body: bytes of a request's body, also when decompressed.
        events: events of a request.
        rate: events a second of each caller, on average over ``burst_s``; 0: any number.
        burst_s: seconds of ``rate`` that a caller may send at once.
        concurrent: requests under way at once, of all callers.
        waiting: records that wait for Kafka at once, of one pipeline.
        body_s: seconds in which a body must have come.
        answer_s: seconds that a request waits for Kafka.
        away_s: seconds without any delivery after which Kafka is taken to be away, and requests are refused at once.
        remember_s: seconds for which a repeat of an id is recognised.
        remembered: ids remembered at once, of one pipeline.
    """

    body: int = 8 << 20
    events: int = 10_000
    rate: float = 0.0
    burst_s: float = 2.0
    concurrent: int = 1_000
    waiting: int = 100_000
    body_s: float = 20.0
    answer_s: float = 20.0
    away_s: float = 3.0
    remember_s: float = 600.0
    remembered: int = 2_000_000


class Rates:
    """What each caller may still send: a bucket that fills at the rate, and that a large request may overdraw once."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = limits.rate
        self._most = limits.rate * limits.burst_s
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}

    def check(self, caller: str) -> None:
        """See that a caller may send something now.

        Raises:
            Problem: 429.
        """
        if self._rate and (level := self._level(caller)) <= 0:
            wait = math.ceil((1 - level) / self._rate)
            raise Problem(
                429,
                "rate_limit",
                f"{caller or 'this caller'} may send {self._rate:g} events a second: try again in {wait} s",
                retry_after=wait,
            )

    def charge(self, caller: str, events: int) -> None:
        """Events that a caller has sent."""
        if self._rate:
            self._levels[caller] = (self._level(caller) - events, self._clock())

    def _level(self, caller: str) -> float:
        level, at = self._levels.get(caller, (self._most, 0.0))
        return min(self._most, level + (self._clock() - at) * self._rate)
