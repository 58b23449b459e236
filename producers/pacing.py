"""How fast rows are pushed: so many a second, or as fast as they happened, times a factor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

Times = np.ndarray[tuple[int], np.dtype[np.int64]]
TICK_S = 0.05


class Pace:
    """Cuts rows into parts and waits between them.

    Args:
        rate: rows a second, at most; None: no limit.
        speed: event-time seconds that pass in one second; None: not by event time.
    """

    def __init__(self, *, rate: float | None = None, speed: float | None = None) -> None:
        self._rate = rate
        self.speed = speed
        self._sent = 0
        self._began = time.monotonic()
        self._clock: tuple[float, int] | None = None
        self._sleep: Callable[[float], None] = time.sleep

    def parts(self, times: Times) -> Iterator[slice]:
        """The rows in order, in parts, each given when it is due.

        Args:
            times: event time of each row, microseconds since 1970.
        """
        if self.speed is not None:
            yield from self._by_event_time(np.maximum.accumulate(times))
        elif self._rate is not None:
            step = max(1, int(self._rate * TICK_S))
            for start in range(0, len(times), step):
                part = slice(start, min(start + step, len(times)))
                self._sleep(max(0.0, self._began + self._sent / self._rate - time.monotonic()))
                self._sent += part.stop - part.start
                yield part
        else:
            yield slice(0, len(times))

    def _by_event_time(self, times: Times) -> Iterator[slice]:
        start = 0
        while start < len(times):
            now = time.monotonic()
            if self._clock is None:
                self._clock = (now, int(times[start]))
            wall, event = self._clock
            assert self.speed is not None
            event += int((now - wall) * self.speed * 1_000_000)
            self._clock = (now, event)
            stop = int(np.searchsorted(times, event, side="right"))
            if stop > start:
                yield slice(start, stop)
                start = stop
            self._sleep(TICK_S)
