"""What windows are, written as loops over all rows: what the engine is held against."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from headrace.declare.aggregations import (
    EWMA,
    Aggregate,
    Aggregation,
    Count,
    Distinct,
    First,
    Lag,
    Last,
    Max,
    Mean,
    Min,
    Mode,
    Quantile,
    SinceLast,
    Std,
    Sum,
    Var,
)
from headrace.features.decay import weight_of
from headrace.features.plan import micros


@dataclass(frozen=True)
class Row:
    """A row of the tests.

    Attributes:
        at: microseconds.
        group: what it is grouped by.
        value: what a window is over.
        counts: whether ``where`` is true of it.
    """

    at: int
    group: Any
    value: Any
    counts: bool


def held(window: Aggregation, rows: Sequence[Row], place: int) -> list[Row]:
    """The rows of a window for the row at a place, in the order of their times, and in that of the log for each."""
    t, group = rows[place].at, rows[place].group
    last = t - micros(window.offset)
    first = -math.inf if window.within is None else last - micros(window.within)
    same = [
        q
        for q in rows[:place]
        if (not window.by or q.group == group)
        and first < q.at <= last
        and (window.where is None or q.counts)
        and (window.value is None or q.value is not None)
    ]
    same.sort(key=lambda q: q.at)
    if window.session is not None:
        since = len(same)
        while since and (same[since].at if since < len(same) else t) - same[since - 1].at <= micros(window.session):
            since -= 1
        same = same[since:]
    return same


class OutOfRange(Exception):
    """The value of a window has no place in its type."""


def value_of(window: Aggregation, rows: Sequence[Row], place: int) -> Any:
    """What a window gives for the row at a place; None: null.

    Raises:
        OutOfRange: the row is refused.
    """
    found = held(window, rows, place)
    try:
        value = _VALUES[type(window)](window, found, rows[place].at)
    except OverflowError:
        raise OutOfRange from None
    if type(window) is Sum and isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise OutOfRange
    return value


def _sum(values: list[Any]) -> Any:
    total = sum(map(Fraction, values))
    return float(total) if any(isinstance(v, float) for v in values) else int(total)


def _mean(values: list[Any]) -> float | None:
    return float(sum(map(Fraction, values))) / len(values) if values else None


def _variance(values: list[Any]) -> float | None:
    n = len(values)
    if n < 2:
        return None
    spread = n * sum(Fraction(v) ** 2 for v in values) - sum(map(Fraction, values)) ** 2
    return float(spread) / (float(n) * float(n - 1))


def _mode(values: list[Any]) -> Any:
    counts = Counter(values)
    return min((v for v in counts if counts[v] == max(counts.values())), default=None)


def _quantile(values: list[Any], q: float) -> float | None:
    if not values:
        return None
    rank = max(1, math.ceil(Fraction(str(q)) * len(values)))
    return float(sorted(values)[rank - 1])


def _decayed(window: EWMA, found: list[Row]) -> float | None:
    if not found:
        return None
    weights = []
    for row in found:
        size, exponent = weight_of(row.at, micros(window.half_life))
        weights.append(Fraction(size) * Fraction(2) ** exponent)
    return float(sum(w * Fraction(r.value) for w, r in zip(weights, found, strict=True)) / sum(weights))


def _own(window: Aggregate, values: list[Any]) -> Any:
    state = window.algebra.zero()
    for value in values:
        state = window.algebra.add(state, value)
    return window.algebra.result(state)


def _values(found: list[Row]) -> list[Any]:
    return [row.value for row in found]


_VALUES: dict[type[Aggregation], Any] = {
    Count: lambda w, found, t: len(found),
    SinceLast: lambda w, found, t: (t - found[-1].at) / 1e6 if found else None,
    Sum: lambda w, found, t: _sum(_values(found)),
    Mean: lambda w, found, t: _mean(_values(found)),
    Var: lambda w, found, t: _variance(_values(found)),
    Std: lambda w, found, t: None if (v := _variance(_values(found))) is None else math.sqrt(v),
    Min: lambda w, found, t: min(_values(found), default=None),
    Max: lambda w, found, t: max(_values(found), default=None),
    First: lambda w, found, t: found[0].value if found else None,
    Last: lambda w, found, t: found[-1].value if found else None,
    Lag: lambda w, found, t: found[-w.n].value if len(found) >= w.n else None,
    Distinct: lambda w, found, t: len(set(_values(found))),
    Mode: lambda w, found, t: _mode(_values(found)),
    Quantile: lambda w, found, t: _quantile(_values(found), w.q),
    EWMA: lambda w, found, t: _decayed(w, found),
    Aggregate: lambda w, found, t: _own(w, _values(found)),
}
