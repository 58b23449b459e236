"""Drift: the index over windows of features, and the test on the champion's error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headrace.declare.drift import Drift
from headrace.schema.records import FeatureBaseline
from headrace.streams.monitor.error import ErrorWatch
from headrace.streams.monitor.feature_windows import FeatureWindows, Window
from headrace.streams.monitor.groups import Grouped
from headrace.streams.monitor.tally import Integers, Numbers

HALVES = FeatureBaseline(feature="x", edges=[0.5], shares=[0.5, 0.5])
HOUR = 3_600_000_000
DAY = 24 * HOUR


def rows(*hours: float, x: float = 0.1) -> pl.DataFrame:
    times = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=h) for h in hours]
    return pl.DataFrame({"event_time": times, "x": [x] * len(hours)}).with_columns(
        pl.col("event_time").cast(pl.Datetime("us", "UTC"))
    )


def test_a_window_closes_once_when_time_has_passed_it_and_counts_by_bin_until_it_is_final() -> None:
    windows = FeatureWindows(HOUR)
    windows.add("m", [HALVES], 0, rows(0.0, 0.5, 1.2), np.array([10, 11, 12]))
    windows.add("m", [HALVES], 1, rows(0.7, x=0.9), np.array([5]))
    assert windows.closed(HOUR - 1) == []
    (closed,) = windows.closed(HOUR)
    assert (closed.window, closed.whole) == (Window("m", 0), True)
    assert windows.closed(HOUR) == []
    ((window, found),) = windows.figures(1).items()
    assert (window, found["psi.x"].records) == (Window("m", 0), 3)
    assert found["ks.x"].value == pytest.approx(2 / 3 - 1 / 2)
    assert windows.add("m", [HALVES], 1, rows(0.8), np.array([6])) == {}
    assert windows.closed(HOUR) == []
    assert windows.figures(1)[Window("m", 0)]["psi.x"].records == 4
    assert (windows.earliest(0, 99), windows.earliest(1, 99)) == (10, 5)
    windows.finish(1)
    assert (windows.earliest(0, 99), windows.earliest(1, 99)) == (12, 99)
    assert windows.add("m", [HALVES], 1, rows(0.8), np.array([7])) == {("m", 0): 1}
    assert windows.figures(1) == {}


def test_a_window_in_which_the_rule_began_late_is_not_whole() -> None:
    windows = FeatureWindows(HOUR)
    windows.add("m", [HALVES], 0, rows(0.5), np.array([1]))
    assert [c.whole for c in windows.closed(HOUR)] == [False]


def test_groups_are_kept_by_offset_until_their_windows_are_final() -> None:
    grouped = Grouped(1)
    assert (grouped.earliest(7), grouped.at(np.array([3])).tolist()) == (7, [[0]])
    for first in range(0, 20_000, 500):
        offsets = np.arange(first, first + 500) * 2
        grouped.take(offsets, offsets // 1_000, (offsets[:, None] % 7).astype(np.int32))
        grouped.reached = int(offsets[-1]) + 1
        grouped.drop_before((first - 2_000) * 2 // 1_000)
    assert (len(grouped), grouped.earliest(99_999)) == (2_500, 35_000)
    asked = np.array([34_998, 35_000, 35_001, 39_998])
    assert grouped.at(asked).ravel().tolist() == [0, 35_000 % 7, 0, 39_998 % 7]
    grouped.drop_before(99)
    assert (len(grouped), grouped.earliest(99_999)) == (0, 39_998)


def feed(watch: ErrorWatch, rank: int, days: range, error: float) -> list[int]:
    """Days on which the watch said that the error rose."""
    every = np.array([(d, 10 * d + i, d * DAY + i) for d in days for i in range(4)])
    found = watch.update(np.full(len(every), rank), every[:, 1], every[:, 2], np.full(len(every), error))
    return [int(every[rise.place, 0]) for rise in found]


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


def test_the_test_gives_the_same_whatever_the_batches() -> None:
    random = np.random.default_rng(0)
    n = 3_000
    ranks: Integers = np.sort(random.integers(-1, 3, n)) - (random.random(n) < 0.05)
    offsets: Integers = np.arange(n)
    times: Integers = np.arange(n) * (DAY // 20) - random.integers(0, DAY, n)
    errors: Numbers = np.clip(random.normal(0.2 + 0.4 * (np.arange(n) % 1_000 > 500), 0.1), 0, 1)

    def part(watch: ErrorWatch, start: int, stop: int) -> list[int]:
        of = slice(start, stop)
        return [r.time for r in watch.update(ranks[of], offsets[of], times[of], errors[of])]

    whole, single, parts = (ErrorWatch(Drift(error_threshold=0.5)) for _ in range(3))
    found = part(whole, 0, n)
    assert len(found) > 1
    assert [time for i in range(n) for time in part(single, i, i + 1)] == found
    cuts = np.sort(random.integers(0, n, 40)).tolist()
    batches = zip([0, *cuts], [*cuts, n], strict=True)
    assert [time for a, b in batches for time in part(parts, a, b)] == found
