"""The feature engine gives what the definition of windows says, for any order of the log and any cut into batches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

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
    Ratio,
    SinceLast,
    Std,
    Sum,
    Var,
)
from headrace.declare.algebra import Algebra
from headrace.errors import ConfigError
from headrace.features.plan import plan_of
from headrace.features.windows import PartitionWindows
from tests.unit.window_definition import OutOfRange, Row, value_of

RAW = {
    "at": pl.Datetime("us", "UTC"),
    "group": pl.String(),
    "number": pl.Int64(),
    "amount": pl.Float64(),
    "name": pl.String(),
    "counts": pl.Boolean(),
}
WHERE = pl.col("counts")


class Bits(Algebra[int]):
    """Exclusive or: takes away what it takes in."""

    dtype = pl.Int64()

    def zero(self) -> int:
        return 0

    def add(self, state: int, value: int) -> int:
        return state ^ value

    def remove(self, state: int, value: int) -> int:
        return state ^ value

    def result(self, state: int) -> int:
        return state


class Joined(Algebra[tuple[int, ...]]):
    """The values in their order: merges, and shows every fault of order."""

    dtype = pl.String()

    def zero(self) -> tuple[int, ...]:
        return ()

    def add(self, state: tuple[int, ...], value: int) -> tuple[int, ...]:
        return (*state, value)

    def merge(self, earlier: tuple[int, ...], later: tuple[int, ...]) -> tuple[int, ...]:
        return earlier + later

    def result(self, state: tuple[int, ...]) -> str:
        return " ".join(map(str, state))


def us(span: int) -> timedelta:
    return timedelta(microseconds=span)


def spans() -> st.SearchStrategy[dict[str, Any]]:
    """Within, offset and session of a window."""
    plain = st.fixed_dictionaries(
        {"within": st.none() | st.integers(1, 60).map(us), "offset": st.just(us(0)) | st.integers(0, 40).map(us)}
    )
    session = st.fixed_dictionaries({"within": st.integers(1, 80).map(us), "session": st.integers(1, 10).map(us)})
    common = st.fixed_dictionaries({"by": st.sampled_from(["group", ()]), "where": st.sampled_from([None, WHERE])})
    return st.builds(lambda span, more: {**span, **more}, plain | session, common)


def aggregations(column: str) -> st.SearchStrategy[Aggregation]:
    """A window over one of the columns."""
    of_any = [First, Last, Distinct, Mode]
    of_numbers = [Sum, Mean, Var, Std, Min, Max] if column != "name" else []
    kinds = [st.builds(lambda kind, w: kind(column, **w), st.sampled_from(of_any + of_numbers), spans())]
    kinds.append(st.builds(lambda n, w: Lag(column, n, **w), st.integers(1, 6), spans()))
    kinds.append(st.builds(lambda kind, w: kind(**w), st.sampled_from([Count, SinceLast]), spans()))
    if column != "name":
        kinds.append(st.builds(lambda q, w: Quantile(column, q, **w), st.sampled_from([0, 0.1, 0.5, 0.95, 1]), spans()))
        bounded = spans().filter(lambda w: w["within"] is not None)
        kinds.append(st.builds(lambda h, w: EWMA(column, half_life=us(h), **w), st.integers(1, 50), bounded))
    if column == "number":
        kinds.append(st.builds(lambda a, w: Aggregate(column, a, **w), st.sampled_from([Bits(), Joined()]), spans()))
    return st.one_of(kinds)


VALUES = {
    "number": st.integers(-5, 5) | st.integers(-(2**60), 2**60) | st.none(),
    "amount": st.floats(-1e3, 1e3) | st.floats(-1e200, 1e200, allow_subnormal=True) | st.integers(-3, 3).map(float),
    "name": st.sampled_from(["x", "y", "zebra", None]),
}


@st.composite
def logs(draw: st.DrawFn, column: str) -> tuple[list[Row], int, list[int]]:
    """Rows of a log, the lateness that lets them all in, and where the log is cut into batches."""
    lateness = draw(st.sampled_from([0, 5, 30]))
    step = st.integers(0, 4) | st.integers(0, 60)
    newest, rows = 1000, []
    for _ in range(draw(st.integers(0, 70))):
        newest += draw(step)
        behind = draw(st.just(0) | st.integers(0, lateness))
        group, counts = draw(st.sampled_from(["a", "b", None])), draw(st.sampled_from([True, True, False]))
        rows.append(Row(newest - behind, group, draw(VALUES[column]), counts))
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    return rows, lateness, [0, *cuts, len(rows)]


def frame(rows: list[Row], column: str) -> pl.DataFrame:
    given = {
        "at": pl.Series([r.at for r in rows], dtype=pl.Int64).cast(RAW["at"]),
        "group": pl.Series([r.group for r in rows], dtype=pl.String),
        "counts": pl.Series([r.counts for r in rows], dtype=pl.Boolean),
        column: pl.Series([r.value for r in rows], dtype=RAW[column]),
    }
    absent = {name: pl.Series([None] * len(rows), dtype=dtype) for name, dtype in RAW.items() if name not in given}
    return pl.DataFrame({**given, **absent}).select(*RAW)


def batches(rows: list[Row], column: str, edges: list[int]) -> Iterator[pl.DataFrame]:
    for start, stop in pairwise(edges):
        yield frame(rows[start:stop], column)


@pytest.mark.parametrize("column", ["number", "amount", "name"])
@settings(max_examples=150, phases=[Phase.generate])
@given(data=st.data())
def test_windows_are_what_their_definition_says(column: str, data: st.DataObject) -> None:
    windows = dict(enumerate(data.draw(st.lists(aggregations(column), min_size=1, max_size=5))))
    rows, lateness, edges = data.draw(logs(column))
    state = PartitionWindows(plan_of({f"w{k}": w for k, w in windows.items()}, RAW), "at", lateness)
    made = [state.take(batch) for batch in batches(rows, column, edges)]
    found = pl.concat([columns for columns, _ in made])
    refused = {start + place for (_, r), start in zip(made, edges, strict=False) for place, _ in r}
    out_of_range = set()
    for k, window in windows.items():
        got = found[f"w{k}"].to_list()
        for place in range(len(rows)):
            try:
                wanted = value_of(window, rows, place)
            except OutOfRange:
                out_of_range.add(place)
            else:
                # No sum of no doubles is 0.0, not 0.
                assert got[place] == wanted, (k, place)
                assert type(wanted) in (type(got[place]), int), (k, place)
    assert refused == out_of_range


def test_a_ratio_divides_one_window_by_another() -> None:
    everything = Count(by=())
    plan = plan_of({"share": Ratio(Count(WHERE, by=()), everything)}, RAW)
    rows = [Row(1, "a", 1, True), Row(2, "a", 1, False), Row(3, "a", 1, True), Row(4, "a", 1, True)]
    columns, refused = PartitionWindows(plan, "at", 0).take(frame(rows, "number"))
    assert columns.to_dict(as_series=False) == {"share": [None, 1.0, 0.5, 2 / 3]}
    assert refused == []


def test_values_that_are_no_finite_numbers_are_refused_and_count_for_nothing() -> None:
    plan = plan_of({"sum": Sum("amount", by=()), "rows": Count(by=())}, RAW)
    rows = [Row(k, "a", v, True) for k, v in enumerate([1.0, float("nan"), 2.0, float("inf"), 3.0])]
    columns, refused = PartitionWindows(plan, "at", 0).take(frame(rows, "amount"))
    assert [place for place, _ in refused] == [1, 3]
    assert columns["sum"].to_list() == [0.0, None, 1.0, None, 3.0]
    assert columns["rows"].to_list() == [0, None, 1, None, 2]


def test_a_value_that_does_not_count_may_be_any() -> None:
    plan = plan_of({"sum": Sum("amount", by=(), where=WHERE), "last": Last("amount", by=(), where=WHERE)}, RAW)
    odd = [Row(1, "a", 1.0, True), Row(2, "a", float("nan"), False), Row(3, "a", float("inf"), False)]
    columns, refused = PartitionWindows(plan, "at", 0).take(frame([*odd, Row(4, "a", 2.0, True)], "amount"))
    assert refused == []
    assert columns.to_dict(as_series=False) == {"sum": [0.0, 1.0, 1.0, 1.0], "last": [None, 1.0, 1.0, 1.0]}


def test_no_rows_have_windows_of_their_types() -> None:
    plan = plan_of({"sum": Sum("amount", by=()), "who": Last("name", by=())}, RAW)
    columns, refused = PartitionWindows(plan, "at", 0).take(frame([], "amount"))
    assert columns.schema == {"sum": pl.Float64, "who": pl.String}
    assert refused == []


def test_arrays_grow_and_keep_what_they_hold() -> None:
    """Ten thousand rows of 300 groups: many more entries, blocks and groups than there is room for at first."""
    chance = random.Random(5)
    rows = [Row(k, str(chance.randrange(300)), chance.randrange(-1000, 1000), True) for k in range(10_000)]
    windows = {
        "sum": Sum("number", by="group", within=us(4000)),
        "max": Max("number", by="group"),
        "last": Last("number", by="group", within=us(10_000)),
        "all": Max("number", by=(), within=us(3000)),
    }
    state = PartitionWindows(plan_of(windows, RAW), "at", 7)
    log = frame(rows, "number")
    found = pl.concat([state.take(log[start : start + 999])[0] for start in range(0, log.height, 999)])
    number = pl.col("number")
    wanted = log.with_columns(pl.int_range(pl.len()).alias("k")).select(
        (number.rolling_sum_by("k", "4000i").over("group") - number).alias("sum"),
        number.cum_max().shift(1).over("group").alias("max"),
        number.shift(1).over("group").alias("last"),
        number.shift(1).rolling_max(2999, min_samples=1).alias("all"),
    )
    assert found.equals(wanted)


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (lambda: Sum("name", by="group"), "window 'w': Sum takes integers of up to 64 bits with a sign, floats and"),
        (lambda: Sum("number", by="user"), "window 'w': by='user' is no field; there are at, group"),
        (lambda: Count(by="amount"), "window 'w': by='amount' is Float64"),
        (lambda: Count(pl.col("number"), by="group"), "window 'w': where is no condition"),
        (lambda: Count(by="group", within="0s"), "Count: within=0:00:00 holds no row"),
        (lambda: Count(by="group", session="5m"), "Count: session=0:05:00 needs within"),
        (lambda: Lag("number", 0, by="group"), "Lag: n=0"),
        (lambda: Quantile("number", 95, by="group"), "Quantile: q=95: give a share from 0 to 1"),
        (lambda: Sum("absent", by="group"), "window 'w': "),
    ],
)
def test_a_window_that_cannot_be_is_refused_where_it_is_declared(window: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_of({"w": window()}, RAW)
    assert str(caught.value).startswith(said)
