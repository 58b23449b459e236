"""Rolling sums are what their definition says, row by row, in any order of the log."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.declare.windows import Window, rolling_sums

ROWS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(["a", "b", None]), st.integers(0, 1), st.integers(-3, 3) | st.none()),
    max_size=40,
)


def frame(rows: list[tuple[int, str | None, int, int | None]]) -> pl.DataFrame:
    schema = {"at": pl.Int64, "g": pl.String, "h": pl.Int64, "v": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))


@given(ROWS, st.integers(1, 30), st.sampled_from([(), ("g",), ("h",), ("g", "h")]))
def test_a_sum_is_over_earlier_rows_of_the_group_within_the_window(
    rows: list[tuple[int, str | None, int, int | None]], within: int, by: tuple[str, ...]
) -> None:
    window = Window(pl.col("v"), timedelta(microseconds=within), by)
    found = rolling_sums(frame(rows), at="at", windows={"sum": window})["sum"].to_list()
    columns = {"g": 1, "h": 2}
    wanted = [
        sum(
            q[3] or 0
            for q in rows[:place]
            if all(q[columns[c]] == p[columns[c]] for c in by) and p[0] - within < q[0] <= p[0]
        )
        for place, p in enumerate(rows)
    ]
    assert found == wanted


def test_booleans_count() -> None:
    rows = frame([(1, "a", 0, 1), (2, "a", 0, 2), (3, "a", 0, 1)])
    window = Window(pl.col("v") == 1, timedelta(seconds=1))
    assert rolling_sums(rows, at="at", windows={"n": window})["n"].to_list() == [0, 1, 1]


def test_floats_are_refused_as_their_sum_depends_on_the_batch() -> None:
    with pytest.raises(TypeError, match="boolean or integer"):
        rolling_sums(frame([]), at="at", windows={"x": Window(pl.col("v") * 0.5, timedelta(seconds=1))})


@pytest.mark.parametrize(
    "group",
    [
        pl.Series([-1, None, -1], dtype=pl.Int64),
        pl.Series([0, None, 0], dtype=pl.Int64),
        pl.Series([1.2, 1.7, 1.2], dtype=pl.Float64),
        pl.Series([2**64 - 1, 2**63, 2**64 - 1], dtype=pl.UInt64),
        pl.Series([False, None, False], dtype=pl.Boolean),
        pl.Series(["", None, ""], dtype=pl.String),
    ],
    ids=lambda group: str(group.dtype),
)
def test_values_of_any_type_that_differ_are_different_groups(group: pl.Series) -> None:
    rows = frame([(1, "a", 0, 1), (2, "a", 0, 1), (3, "a", 0, 1)]).with_columns(group.alias("g"))
    window = Window(pl.col("v"), timedelta(seconds=1), ("g",))
    assert rolling_sums(rows, at="at", windows={"n": window})["n"].to_list() == [0, 0, 1]


def test_many_groups_over_a_long_log_stay_apart() -> None:
    year = 365 * 86_400_000_000
    rows = pl.DataFrame({"at": [place * year // 3000 for place in range(3000)], "g": range(3000), "h": range(3000)})
    events = rows.with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))
    window = Window(pl.col("g") + 1, timedelta(days=1), ("g", "h"))
    assert set(rolling_sums(events, at="at", windows={"n": window})["n"]) == {0}
