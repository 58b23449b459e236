"""What windows cost a row, by how many lie in the horizon: the ten of flights, beside the same over whole frames."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import polars as pl

from bench.flights import events
from bench.sitting import FULL, Sitting, load
from headrace.declare.pipeline import OFFSET
from headrace.declare.windows import Window, rolling_sums
from headrace.examples.flights.features import WINDOWS
from headrace.examples.flights.pipeline import flights
from headrace.features.state import WindowState

BATCH = 4_000
BATCHES = 40
IN_HORIZON = (10_000, 100_000, 1_000_000)
WHOLE = 100_000
"""Most rows in the horizon for which whole frames are tried: they take a second a batch from there on."""
DAY = timedelta(days=1) // timedelta(microseconds=1)


def windows(sitting: Sitting) -> None:
    """Rows a second through the windows, without Kafka, and the rate of the largest horizon over that of the least."""
    before = load()
    counts = IN_HORIZON if sitting.scale is FULL else IN_HORIZON[:2]
    figures: dict[str, float] = {}
    for count in counts:
        rows = _log(count)
        figures[f"windows_{count // 1000}k"] = _rate(_incremental(rows))
        if count <= WHOLE:
            figures[f"whole_frames_{count // 1000}k"] = _rate(_over_frames(rows, count))
    sitting.figures("windows", {name: round(value) for name, value in figures.items()}, before)
    least, most = (figures[f"windows_{count // 1000}k"] for count in (counts[0], counts[-1]))
    sitting.report.ratio("windows_large_horizon", most / least)


def _log(in_horizon: int) -> pl.DataFrame:
    """Events of January one after the other, so many a day, and those that are measured after them."""
    january = events(1)
    wanted = int(in_horizon * 1.1) + BATCH * BATCHES
    rows = pl.concat([january] * -(-wanted // january.height))[:wanted]
    at = np.arange(wanted) * (DAY // in_horizon) + 10**15
    times = pl.Series("at", at).cast(pl.Datetime("us", "UTC"))
    return rows.with_columns(times, pl.Series(OFFSET, np.arange(wanted)))


def _incremental(rows: pl.DataFrame) -> Callable[[int], None]:
    state = WindowState(flights)
    first = rows.height - BATCH * BATCHES

    def take(start: int, stop: int) -> None:
        state.with_windows(rows[start:stop])
        state.went_through(stop - 1)

    for start in range(0, first, 100_000):
        take(start, min(first, start + 100_000))
    return lambda number: take(first + number * BATCH, first + (number + 1) * BATCH)


def _over_frames(rows: pl.DataFrame, in_horizon: int) -> Callable[[int], None]:
    counted = {n: Window(w.where, w.within, w.by) for n, w in WINDOWS.items() if w.where is not None and w.within}
    first = rows.height - BATCH * BATCHES

    def take(number: int) -> None:
        stop = first + (number + 1) * BATCH
        rolling_sums(rows[stop - BATCH - in_horizon : stop], at="at", windows=counted)

    return take


def _rate(take: Callable[[int], None]) -> float:
    seconds = []
    for number in range(BATCHES):
        began = time.perf_counter()
        take(number)
        seconds.append(time.perf_counter() - began)
    return BATCH / statistics.median(seconds)
