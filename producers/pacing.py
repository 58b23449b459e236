"""How fast rows are pushed: so many a second, or as fast as they happened, times a factor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import polars as pl

TICK_S = 0.05


class Pace:
    """Cuts rows into parts and waits between them.

    Args:
        rate: rows a second, at most; None: no limit.
        speed: event-time seconds that pass in one second; None: not by event time.
        event_time: name of the event-time column.
    """

    def __init__(self, event_time: str, *, rate: float | None = None, speed: float | None = None) -> None:
        self._column = event_time
        self._rate = rate
        self.speed = speed
        self._sent = 0
        self._began = time.monotonic()
        self._clock: tuple[float, int] | None = None
        self._sleep: Callable[[float], None] = time.sleep

    def parts(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The rows in order, in parts, each given when it is due."""
        if self.speed is not None:
            yield from self._by_event_time(rows)
        elif self._rate is not None:
            step = max(1, int(self._rate * TICK_S))
            for start in range(0, rows.height, step):
                part = rows.slice(start, step)
                self._sleep(max(0.0, self._began + self._sent / self._rate - time.monotonic()))
                self._sent += part.height
                yield part
        else:
            yield rows

    def _by_event_time(self, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        times = rows[self._column].cast(pl.Datetime("us", "UTC")).to_physical().cum_max()
        start = 0
        while start < rows.height:
            now = time.monotonic()
            if self._clock is None:
                self._clock = (now, int(times[start]))
            wall, event = self._clock
            assert self.speed is not None
            event += int((now - wall) * self.speed * 1_000_000)
            self._clock = (now, event)
            stop = int(times.search_sorted(event, side="right"))
            if stop > start:
                yield rows.slice(start, stop - start)
                start = stop
            self._sleep(TICK_S)
