"""A pipeline with windows: preprocess gives the same features for any batches, restarts and failures of user code."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from headrace.declare.aggregations import Aggregate, Count, Sum
from headrace.declare.algebra import Algebra
from headrace.declare.pipeline import Pipeline
from headrace.errors import ConfigError, SchemaError
from headrace.streams.preprocess import Preprocess
from headrace.testing.features import check_features, examine_features
from headrace.testing.pipelines import POISON, clicks, toy, windowed
from headrace.testing.platform import MemoryPlatform
from headrace.testing.processors import check_processor
from headrace.topics.retention import ALL_TIME, state_needs


def late(events: pl.DataFrame) -> pl.DataFrame:
    """The events in another order: each third comes up to nine minutes after its time."""
    behind = pl.int_range(pl.len()) % 3 * 270
    return (
        events.with_columns(pl.col("at").dt.offset_by("0s").alias("was"), behind.alias("behind"))
        .sort(pl.col("was") + pl.duration(seconds=pl.col("behind")), maintain_order=True)
        .drop("was", "behind")
    )


def priced(events: pl.DataFrame, price: float, *ids: str) -> pl.DataFrame:
    odd = pl.col("click_id").is_in(list(ids)) & (pl.col("kind") == "seen")
    return events.with_columns(pl.when(odd).then(price).otherwise("price").alias("price"))


def of(events: pl.DataFrame, pipeline: Pipeline) -> MemoryPlatform:
    platform = MemoryPlatform(pipeline)
    platform.push(events)
    platform.run("preprocess")
    return platform


def letters(platform: MemoryPlatform) -> list[tuple[str, int]]:
    return sorted(platform.rows("dead").group_by("code").len().rows())


@pytest.mark.slow
def test_features_do_not_depend_on_batches_restarts_or_late_events() -> None:
    platform = MemoryPlatform(windowed("toy"))
    platform.push(late(clicks(0, 200)))
    check_processor(Preprocess, platform.topics)


@pytest.mark.slow
def test_a_pipeline_with_windows_keeps_its_contract_at_any_cut() -> None:
    check_features(windowed("toy"), late(clicks(0, 300)), cuts=10, seed=3)


def test_a_window_has_the_values_that_the_whole_frame_has() -> None:
    events = late(clicks(0, 200))
    whole, window = (of(events, p("toy")).rows("features").select("id", "price", "seen_10m") for p in (toy, windowed))
    assert whole.height == 200
    assert window.equals(whole)


def test_events_on_which_features_fail_count_once_for_those_after_them() -> None:
    events = clicks(0, 100)
    sound = of(events, windowed("toy")).rows("features").filter(pl.col("id") != "c37")
    failing = of(priced(events, POISON, "c37"), windowed("toy"))
    assert letters(failing) == [("processor_failed", 1)]
    made = failing.rows("features")
    assert made.select("id", "seen_10m", "kinds").equals(sound.select("id", "seen_10m", "kinds"))


def test_an_event_that_no_window_can_take_becomes_a_dead_letter_and_counts_for_nothing() -> None:
    events = clicks(0, 100, labelled=False)
    platform = of(priced(events, float("nan"), "c37"), windowed("toy"))
    assert letters(platform) == [("window_not_finite", 1)]
    assert platform.rows("dead")["reason"].to_list() == ["a window's value is nan, no finite number"]
    without = of(events.filter(pl.col("click_id") != "c37"), windowed("toy"))
    columns = ["id", "price", "seen_10m", "spent_30m", "dearest"]
    assert platform.rows("features").select(columns).equals(without.rows("features").select(columns))


def test_a_null_is_a_group_of_its_own() -> None:
    pipeline = replace(
        windowed("toy"),
        windows={"same": Count(by="bought", within="1h")},
        features=lambda events: events.select("offset", pl.col("same").cast(pl.Float64)),
    )
    events = clicks(0, 3).filter(pl.col("user") == "user0")
    assert of(events, pipeline).rows("features")["same"].to_list() == [0.0, 0.0]


def test_windows_of_all_time_need_raw_records_for_ever() -> None:
    assert state_needs(windowed("toy"))["raw"] == timedelta(hours=1, minutes=10)
    endless = replace(windowed("toy"), windows={**windowed("toy").windows, "all": Count(by="user")})
    assert state_needs(endless)["raw"] == ALL_TIME


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"windows": {}, "horizon": None}, SchemaError, "pipeline toy: give windows, which the platform keeps, or a h"),
        ({"horizon": "1h"}, SchemaError, "pipeline toy: give windows, which the platform keeps, or a horizon over"),
        ({"windows": {"price": Count(by="user")}}, ConfigError, "pipeline toy: window 'price': a column of the raw ro"),
        ({"windows": {"n": Sum("kind", by="user")}}, ConfigError, "pipeline toy: window 'n': Sum takes integers of up"),
        ({"windows": {"n": Count(by="usr")}}, ConfigError, "pipeline toy: window 'n': by='usr' is no field; there are"),
    ],
)
def test_windows_that_do_not_fit_are_refused_by_name(
    changes: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        replace(windowed("toy"), **changes)
    assert str(caught.value).startswith(said)


class Floats(Algebra[float]):
    """A running sum of doubles: its value depends on the way there."""

    dtype = pl.Float64()

    def zero(self) -> float:
        return 0.0

    def add(self, state: float, value: float) -> float:
        return state + value

    def remove(self, state: float, value: float) -> float:
        return state - value

    def result(self, state: float) -> float:
        return state


class Longest(Algebra[str]):
    """The longest text, of several the first."""

    dtype = pl.String()

    def zero(self) -> str:
        return ""

    def add(self, state: str, value: str) -> str:
        return value if len(value) > len(state) else state

    def merge(self, earlier: str, later: str) -> str:
        return self.add(earlier, later)

    def result(self, state: str) -> str:
        return state


@pytest.mark.slow
@pytest.mark.parametrize(("algebra", "value", "keeps"), [(Floats(), "price", False), (Longest(), "click_id", True)])
def test_an_algebra_of_ones_own_is_held_to_its_laws(algebra: Algebra[object], value: str, keeps: bool) -> None:
    pipeline = replace(
        windowed("toy"),
        windows={"own": Aggregate(value, algebra, by="user", within="1h")},
        features=lambda events: events.select("offset", "price", pl.col("own").cast(pl.String)),
    )
    found = {f.check: f for f in examine_features(pipeline, clicks(0, 200))}["the algebra of window own keeps its laws"]
    assert found.rows == 100
    assert found.passed is keeps
    assert keeps or "taken away from" in found.problem
