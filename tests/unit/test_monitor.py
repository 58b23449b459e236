"""Drift: the index over windows of features, and the test on the champion's error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headrace.pipeline import Drift
from headrace.records import FeatureBaseline
from streams.monitor.error import ErrorWatch
from streams.monitor.psi import FeatureWindows, Window, psi

HALVES = FeatureBaseline(feature="x", edges=[0.5], shares=[0.5, 0.5])
HOUR = 3_600_000_000
DAY = 24 * HOUR


def test_psi_is_nought_where_shares_agree_and_as_its_formula_where_not() -> None:
    assert psi(HALVES, np.array([50, 50])) == 0
    wanted = (0.9 - 0.5) * np.log(0.9 / 0.5) + (0.1 - 0.5) * np.log(0.1 / 0.5)
    assert psi(HALVES, np.array([90, 10])) == pytest.approx(wanted)
    assert np.isfinite(psi(HALVES, np.array([100, 0])))


def rows(*hours: float, x: float = 0.1) -> pl.DataFrame:
    times = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=h) for h in hours]
    return pl.DataFrame({"event_time": times, "x": [x] * len(hours)}).with_columns(
        pl.col("event_time").cast(pl.Datetime("us", "UTC"))
    )


def test_a_window_closes_when_time_has_passed_it_and_counts_by_bin() -> None:
    windows = FeatureWindows(HOUR)
    windows.add("m", [HALVES], 0, rows(0.0, 0.5, 1.2), np.array([10, 11, 12]))
    windows.add("m", [HALVES], 1, rows(0.7, x=0.9), np.array([5]))
    assert windows.close_before(HOUR - 1) == []
    assert windows.earliest(0, 99) == 10
    (closed,) = windows.close_before(HOUR)
    assert (closed.window, closed.rows, closed.whole) == (Window("m", 0), 3, True)
    assert closed.counts["x"].tolist() == [2, 1]
    assert (windows.earliest(0, 99), windows.earliest(1, 99)) == (12, 99)


def test_a_window_in_which_the_rule_began_late_is_not_whole() -> None:
    windows = FeatureWindows(HOUR)
    windows.add("m", [HALVES], 0, rows(0.5), np.array([1]))
    assert [c.whole for c in windows.close_before(HOUR)] == [False]


def feed(watch: ErrorWatch, rank: int, days: range, error: float) -> list[int]:
    """Days on which the watch said that the error rose."""
    said = [(d, watch.update(rank, 10 * d + i, d * DAY + i, error)) for d in days for i in range(4)]
    return sorted({day for day, rose in said if rose})


def test_an_error_that_rises_and_stays_is_found_and_a_steady_one_is_not() -> None:
    drift = Drift(error_threshold=0.5)
    assert feed(ErrorWatch(drift), 0, range(200), 0.3) == []
    watch = ErrorWatch(drift)
    assert feed(watch, 0, range(30), 0.2) == []
    assert len(feed(watch, 0, range(30, 45), 0.5)) >= 1


def test_a_new_champion_starts_the_test_anew_and_the_old_ones_outcomes_are_passed_over() -> None:
    watch = ErrorWatch(Drift(error_threshold=0.5))
    feed(watch, 0, range(30), 0.2)
    assert feed(watch, 1, range(30, 60), 0.5) == []
    assert feed(watch, 0, range(60, 90), 0.9) == []
    assert watch.began == 300
