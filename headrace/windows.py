"""Windows over the log: exact sums over rows that came earlier in the log, within a span of event time.

The sums are of integers, so a result does not depend on where a running sum began: the same row gives
the same value however the stream was cut into batches, as long as the frame reaches back over the span.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]


def rolling_sum(
    events: pl.DataFrame, value: pl.Expr, *, at: str, within: timedelta, by: Sequence[str] = ()
) -> pl.Series:
    """For each row, the sum of ``value`` over the rows before it in the frame, of the same group, in its window.

    A row q counts for row p when q stands before p in the frame (the log's order), has the same values in
    ``by``, and its event time lies in ``(at[p] - within, at[p]]``. The row itself does not count.

    Args:
        events: rows of one partition in log order.
        value: a boolean or integer expression over ``events``; null counts as 0.
        at: name of the event-time column (Datetime).
        within: length of the window.
        by: names of the columns that form a group; none: all rows are one group.

    Returns:
        Int64 series of ``len(events)`` values.

    Raises:
        TypeError: ``value`` is neither boolean nor integer (sums of floats would depend on the batch).
    """
    n = events.height
    amount = events.select(value.alias("value"))["value"]
    if amount.dtype != pl.Boolean and not amount.dtype.is_integer():
        raise TypeError(f"rolling_sum takes a boolean or integer value, not {amount.dtype}")
    if n == 0:
        return pl.Series([], dtype=pl.Int64)
    v = amount.cast(pl.Int64).fill_null(0).to_numpy()
    t = events[at].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy()
    group = _codes(events, by)
    span = int(within / timedelta(microseconds=1))

    order = np.lexsort((np.arange(n), t, group))
    place = np.empty(n, dtype=np.int64)
    place[order] = np.arange(n)
    before = np.concatenate(([0], np.cumsum(v[order])))
    # One sortable key per (group, time): a window is then a range of places.
    base = t.min() - span - 1
    width = int(t.max() - base) + 1
    key = group * width + (t - base)
    start = np.searchsorted(key[order], key - span, side="right")
    total = before[place] - before[start]
    _take_back_late_rows(total, v, t, group, span)
    return pl.Series(total)


def _take_back_late_rows(total: Ints, v: Ints, t: Ints, group: Ints, span: int) -> None:
    """Subtract what rows counted of others that stand later in the log though their event time is earlier."""
    for q in np.flatnonzero((t < np.maximum.accumulate(t)) & (v != 0)):
        earlier = (t[:q] > t[q]) & (t[:q] < t[q] + span) & (group[:q] == group[q])
        total[:q][earlier] -= v[q]


def _codes(events: pl.DataFrame, by: Sequence[str]) -> Ints:
    """One integer per distinct combination of the columns ``by``; null is a value of its own."""
    codes = np.zeros(events.height, dtype=np.int64)
    for name in by:
        rank = events[name].rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
        codes = codes * (int(rank.max()) + 1) + rank
    return codes
