"""Windows over the log: exact sums over rows that came earlier in the log, within a span of event time.

The sums are of integers, so a result does not depend on where a running sum began: the same row gives
the same value however the stream was cut into batches, as long as the frame reaches back over the span.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from headrace.declare.duration import duration

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True, init=False)
class Window:
    """What to sum over which rows.

    Args:
        value: a boolean or integer expression over the events; null counts as 0.
        within: length of the window in event time: a timedelta, or written as ``10m``.
        by: the column or columns that form a group; none: all rows are one group.

    Raises:
        ConfigError: ``within`` is no span.
    """

    value: pl.Expr
    within: timedelta
    by: tuple[str, ...]

    def __init__(self, value: pl.Expr, within: timedelta | str, by: str | Sequence[str] = ()) -> None:
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "within", duration(within, "window: within"))
        object.__setattr__(self, "by", (by,) if isinstance(by, str) else tuple(by))


def rolling_sums(events: pl.DataFrame, *, at: str, windows: Mapping[str, Window]) -> pl.DataFrame:
    """For each row and window, the sum of the window's value over the rows that came before.

    A row q counts for row p when q stands before p in the frame (the log's order), has the same values in the
    window's ``by``, and its event time lies in ``(at[p] - within, at[p]]``. The row itself does not count.

    Args:
        events: rows of one partition in log order.
        at: name of the event-time column (Datetime).
        windows: name of the result -> its window.

    Returns:
        One Int64 column for each window, ``len(events)`` rows.

    Raises:
        TypeError: a value is neither boolean nor integer (sums of floats would depend on the batch).
    """
    amounts = events.select(w.value.alias(name) for name, w in windows.items())
    for name, dtype in amounts.schema.items():
        if dtype != pl.Boolean and not dtype.is_integer():
            raise TypeError(f"{name}: rolling_sums takes a boolean or integer value, not {dtype}")
    amounts = amounts.select(pl.all().cast(pl.Int64).fill_null(0))
    if events.is_empty():
        return amounts
    t = events[at].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy()
    late = np.flatnonzero(t < np.maximum.accumulate(t))
    times, rank = np.unique(t, return_inverse=True)
    layouts = {by: _Layout(t, times, rank, _codes(events, by)) for by in {w.by for w in windows.values()}}
    sums = {}
    for name, window in windows.items():
        span = window.within // timedelta(microseconds=1)
        sums[name] = layouts[window.by].sums(amounts[name].to_numpy(), span, late)
    return pl.DataFrame(sums)


class _Layout:
    """The rows sorted by group and time: a window is then a range of indices.

    Args:
        t: event times, microseconds.
        times: the distinct event times, sorted.
        rank: place of each row's time in ``times``. With the group it fits one integer, however long the log.
        group: group of each row, less than the number of rows.
    """

    def __init__(self, t: Ints, times: Ints, rank: Ints, group: Ints) -> None:
        self._t = t
        self._times = times
        self._group = group
        self._order = np.lexsort((rank, group))
        self._place = np.empty(len(t), dtype=np.int64)
        self._place[self._order] = np.arange(len(t))
        self._key = (group * len(t) + rank)[self._order]

    def sums(self, v: Ints, span: int, late: Ints) -> Ints:
        """Sum of ``v`` in the window of each row; ``late`` are the rows with an earlier one of later time."""
        opens = np.searchsorted(self._times, self._t - span, side="right")
        start = np.searchsorted(self._key, self._group * len(self._t) + opens, side="left")
        before = np.concatenate(([0], np.cumsum(v[self._order])))
        total: Ints = before[self._place] - before[start]
        for q in late[v[late] != 0]:
            # Rows before q in the log counted it, as its time is earlier than theirs: take that back.
            wrongly = (self._t[:q] > self._t[q]) & (self._t[:q] < self._t[q] + span)
            total[:q][wrongly & (self._group[:q] == self._group[q])] -= v[q]
        return total


def _codes(events: pl.DataFrame, by: tuple[str, ...]) -> Ints:
    """One integer per distinct combination of the columns ``by``; null is a value of its own."""
    codes = np.zeros(events.height, dtype=np.int64)
    for name in by:
        column = events[name]
        found = column.cast(pl.Categorical).to_physical() if column.dtype == pl.String else column.rank("dense")
        rank = (found.cast(pl.Int64) + 1).fill_null(0).to_numpy()
        _, codes = np.unique(codes * (int(rank.max()) + 1) + rank, return_inverse=True)
    return codes
