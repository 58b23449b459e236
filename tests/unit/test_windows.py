"""Rolling sums are what their definition says, row by row, in any order of the log."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.windows import Window, rolling_sums

ROWS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(["a", "b", None]), st.integers(0, 1), st.integers(-3, 3) | st.none()),
    max_size=40,
)


def frame(rows: list[tuple[int, str | None, int, int | None]]) -> pl.DataFrame:
    schema = {"at": pl.Int64, "g": pl.String, "h": pl.Int64, "v": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))


@given(ROWS, st.integers(1, 30), st.sampled_from([(), ("g",), ("h",), ("g", "h")]))
@settings(deadline=None)
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
