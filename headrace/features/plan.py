"""What a pipeline's windows come to: lanes that compiled code moves, and windows whose state is Python's own.

Windows over the same groups share a lane, and in it entries, spans and sums: the mean of a value costs nothing where
its sum and count are kept. A window that reads single entries (the last, the one before), and one of sessions, has a
lane of only the rows that count for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import polars as pl

from headrace.declare.aggregations import (
    Aggregation,
    Count,
    First,
    Lag,
    Last,
    Max,
    Mean,
    Min,
    Ratio,
    SinceLast,
    Std,
    Sum,
    Var,
    Windows,
    value_type,
    window_types,
)
from headrace.features import moving
from headrace.features.lane import LanePlan

MOST_BITS = 63


@dataclass(frozen=True)
class Out:
    """Where a window's values come from.

    Attributes:
        window: what was declared.
        value: type of what it is computed of.
        dtype: type of its results.
        lane: number of its lane; -1: it is kept in Python.
        out: row of the lane's values, or number of the window kept in Python.
    """

    window: Aggregation
    value: pl.DataType
    dtype: pl.DataType
    lane: int
    out: int


@dataclass(frozen=True)
class WindowPlan:
    """All windows of a pipeline.

    Attributes:
        dtypes: name of each window as declared -> type of its results.
        lanes: those that compiled code moves.
        kept: those kept in Python.
        outs: name -> where the values come from; the parts of a ratio stand under names of their own.
        ratios: name -> the names of its parts.
    """

    dtypes: dict[str, pl.DataType]
    lanes: list[LanePlan]
    kept: list[Aggregation]
    outs: dict[str, Out]
    ratios: dict[str, tuple[str, str]]


def plan_of(windows: Windows, raw: Mapping[str, pl.DataType]) -> WindowPlan:
    """Plan the windows over rows of a schema.

    Raises:
        ConfigError: a window cannot be computed over such rows; the message names it.
    """
    dtypes = window_types(windows, raw)
    single: dict[str, Aggregation] = {}
    ratios = {}
    for name, window in windows.items():
        if isinstance(window, Ratio):
            parts = (f"{name} / of", f"{name} / to")
            single |= dict(zip(parts, (window.of, window.to), strict=True))
            ratios[name] = parts
        else:
            single[name] = window
    lanes: list[_Lane] = []
    kept: list[Aggregation] = []
    places: dict[str, tuple[Aggregation, pl.DataType, pl.DataType, int, tuple[Span | None, int]]] = {}
    for name, window in single.items():
        value = value_type(window, raw)
        dtype = window.dtype(value)
        if _compiled(window, value):
            lane = _lane_for(lanes, window)
            places[name] = (window, value, dtype, lane, lanes[lane].add(window, value))
        else:
            places[name] = (window, value, dtype, -1, (None, len(kept)))
            kept.append(window)
    outs = {
        name: Out(window, value, dtype, lane, number if span is None else lanes[lane].place(span, number))
        for name, (window, value, dtype, lane, (span, number)) in places.items()
    }
    return WindowPlan(
        dtypes=dtypes,
        lanes=[lane.planned() for lane in lanes],
        kept=kept,
        outs=outs,
        ratios=ratios,
    )


def counts(window: Aggregation) -> pl.Expr:
    """Whether a row counts for a window."""
    conditions = [] if window.where is None else [window.where.fill_null(False)]
    if window.value is not None:
        conditions.append(window.value.is_not_null())
    return pl.all_horizontal(conditions) if conditions else pl.lit(True)


def _compiled(window: Aggregation, value: pl.DataType) -> bool:
    if type(window) in (First, Last, Lag):
        return value.is_numeric() or value == pl.Boolean or value.is_temporal()
    return type(window) in (Count, SinceLast, Sum, Mean, Var, Std, Min, Max)


def micros(span: timedelta) -> int:
    """A span in microseconds."""
    return span // timedelta(microseconds=1)


_WHAT = {
    Count: moving.AS_COUNT,
    Sum: moving.AS_SUM,
    Mean: moving.AS_MEAN,
    Var: moving.AS_VAR,
    Std: moving.AS_STD,
    Min: moving.AS_BEST,
    Max: moving.AS_BEST,
    First: moving.AS_FIRST,
    Last: moving.AS_NTH,
    Lag: moving.AS_NTH,
    SinceLast: moving.AS_SINCE,
}


def _lane_for(lanes: list[_Lane], window: Aggregation) -> int:
    """The number of the lane that a window belongs to, made where there is none."""
    alone = type(window) in (First, Last, Lag, SinceLast) or window.session is not None
    only = counts(window) if alone else None
    for number, lane in enumerate(lanes):
        if lane.by == window.by and _equal(lane.only, only) and len(lane.masks) < MOST_BITS:
            return number
    lanes.append(_Lane(window.by, only))
    return len(lanes) - 1


def _equal(one: pl.Expr | None, other: pl.Expr | None) -> bool:
    return one is other if one is None or other is None else one.meta.eq(other)


Span = tuple[int, int, int]
"""Within, offset and gap in microseconds; -1: none."""


@dataclass
class _Span:
    """The terms and outs of one span, by their numbers in it."""

    terms: list[list[int]] = field(default_factory=list)
    outs: list[list[int]] = field(default_factory=list)

    def term(self, *term: int) -> int:
        """The number of a term, which is kept once however many windows read it."""
        kind, bit, column, best = term
        row = [kind, bit, column, 0, 0, 0, best]
        if row not in self.terms:
            self.terms.append(row)
        return self.terms.index(row)


class _Lane:
    """A lane as it is put together."""

    def __init__(self, by: tuple[str, ...], only: pl.Expr | None) -> None:
        self.by = by
        self.only = only
        """Which rows come in, where not all do that count for any of its windows."""
        self.masks: list[pl.Expr] = []
        self.columns: list[pl.Expr] = []
        self.floats: list[bool] = []
        self.spans: dict[Span, _Span] = {}
        self.best: list[list[int]] = []
        self.kept = 0

    def add(self, window: Aggregation, value: pl.DataType) -> tuple[Span, int]:
        """Its span, and its number among what is read of that."""
        within, gap = (-1 if s is None else micros(s) for s in (window.within, window.session))
        key = (within, micros(window.offset), gap)
        span = self.spans.setdefault(key, _Span())
        floats, what = value.is_float(), _WHAT[type(window)]
        bit = _number(self.masks, counts(window))
        column = -1
        if window.value is not None:
            column = _number(self.columns, window.value)
            self.floats[column : column + 1] = [floats]
        out = [what, -1, -1, -1, 0, column]
        if what in (moving.AS_COUNT, moving.AS_MEAN, moving.AS_VAR, moving.AS_STD):
            out[moving.COUNTED] = span.term(moving.COUNT, bit, -1, -1)
        if what in (moving.AS_SUM, moving.AS_MEAN, moving.AS_VAR, moving.AS_STD):
            out[moving.SUMMED] = span.term(moving.FLOAT_SUM if floats else moving.SUM, bit, column, -1)
        if what in (moving.AS_VAR, moving.AS_STD):
            out[moving.SQUARED] = span.term(moving.FLOAT_SQUARES if floats else moving.SQUARES, bit, column, -1)
        if what == moving.AS_BEST:
            sought = [bit, column, int(floats), int(type(window) is Min)]
            if sought not in self.best:
                self.best.append(sought)
            out[moving.COUNTED] = span.term(moving.BEST, bit, column, self.best.index(sought))
        if what == moving.AS_FIRST and window.within is None:
            out[moving.COUNTED] = span.term(moving.OLDEST, bit, column, -1)
        if what in (moving.AS_NTH, moving.AS_SINCE):
            out[moving.NTH] = window.n if isinstance(window, Lag) else 1
            if window.within is None:
                self.kept = max(self.kept, out[moving.NTH])
        span.outs.append(out)
        return key, len(span.outs) - 1

    def planned(self) -> LanePlan:
        """Terms and outs in the order of their spans."""
        plan = LanePlan(
            self.by,
            self.masks,
            list(zip(self.columns, self.floats, strict=True)),
            best=self.best,
            reach=max(offset + max(within, 0) for within, offset, _ in self.spans),
            kept=self.kept,
            endless=any(within < 0 for within, _, _ in self.spans),
        )
        for key, span in self.spans.items():
            first, begins = len(plan.terms), len(plan.outs)
            plan.terms.extend(span.terms)
            plan.outs.extend(
                [what, *(k if k < 0 else first + k for k in terms), nth, column]
                for what, *terms, nth, column in span.outs
            )
            plan.spans.append([*key, 0, first, len(plan.terms), begins, len(plan.outs)])
        return plan

    def place(self, key: Span, number: int) -> int:
        """Where the values of a window stand among the lane's."""
        before = list(self.spans).index(key)
        return sum(len(span.outs) for span in list(self.spans.values())[:before]) + number


def _number(known: list[pl.Expr], new: pl.Expr) -> int:
    """The place of an expression, put at the end where it is new."""
    for place, one in enumerate(known):
        if one.meta.eq(new):
            return place
    known.append(new)
    return len(known) - 1
