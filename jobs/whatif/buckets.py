"""Spans of event time to look at one by one: calendar ones where they fit, else twelve of equal length."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

WANTED = 12
FEWEST, MOST = 6, 18
UNITS = {
    "1y": ("year", timedelta(days=365.2425)),
    "1q": ("quarter", timedelta(days=91.31)),
    "1mo": ("month", timedelta(days=30.44)),
    "1w": ("week", timedelta(days=7)),
    "1d": ("day", timedelta(days=1)),
    "1h": ("hour", timedelta(hours=1)),
}
STRAY = 0.001
"""Share of the rows at either end that has no say in how long the spans are: one event of 1970 among a year's would
leave everything else in one of them. They count in the first and the last."""

Places = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Buckets:
    """Spans of time, one after the other: span i goes from edge i to before edge i + 1.

    Attributes:
        unit: what each of them is, for people.
        edges: one more than there are spans, rising.
    """

    unit: str
    edges: tuple[datetime, ...]

    def places(self, times: pl.Series) -> Places:
        """The span each time lies in, int64 (n,)."""
        edges = pl.Series(self.edges, dtype=times.dtype).to_physical().to_numpy()
        return (np.searchsorted(edges, times.to_physical().to_numpy(), side="right") - 1).astype(np.int64)


def buckets(times: pl.Series) -> Buckets:
    """About twelve spans that hold every one of ``times`` (microseconds, UTC), of which there is at least one."""
    ordered = times.sort()
    stray = int(len(ordered) * STRAY)
    first, last, earliest, latest = (ordered[i] for i in (stray, -1 - stray, 0, -1))
    unit, edges = min(_calendar(first, last), key=_unlike, default=None) or _equal(first, last)
    edges[0] = min(edges[0], earliest)
    edges[-1] = max(edges[-1], latest + timedelta(microseconds=1))
    return Buckets(unit, tuple(edges))


def _unlike(found: tuple[str, list[datetime]]) -> int:
    return abs(len(found[1]) - 1 - WANTED)


def _calendar(first: datetime, last: datetime) -> list[tuple[str, list[datetime]]]:
    """Every calendar unit of which the time from ``first`` to ``last`` takes a number that can be looked at."""
    fitting = []
    for every, (unit, length) in UNITS.items():
        if not FEWEST / 2 <= (last - first) / length <= MOST:
            continue
        begin = pl.Series([first]).dt.truncate(every)[0]
        edges = pl.datetime_range(begin, last, every, time_unit="us", time_zone="UTC", eager=True)
        end = edges.tail(1).dt.offset_by(every)
        if FEWEST <= len(edges) <= MOST:
            fitting.append((unit, [*edges.to_list(), *end.to_list()]))
    return fitting


def _equal(first: datetime, last: datetime) -> tuple[str, list[datetime]]:
    tick = timedelta(microseconds=1)
    span = (last - first) // tick + 1
    count = min(WANTED, span)
    edges = [first + tick * (span * i // count) for i in range(count + 1)]
    return "span" if count > 1 else "moment", edges
