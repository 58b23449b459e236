"""Clocks that run ahead: the odd record is a dead letter, and nothing after it is late for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.declare.pipeline import Pipeline
from headrace.kafka.log import Chunk, TopicPartition
from headrace.runner.recompute import features_of
from headrace.schema.records import DeadLetter
from headrace.streams.ahead import WORKER_CLOCKS, ahead
from headrace.streams.join.processor import Join
from headrace.streams.preprocess import Preprocess
from headrace.testing import MemoryPlatform, check_processor
from headrace.testing.pipelines import BEGIN, clicks, toy
from headrace.topics.pipeline_topics import PipelineTopics
from tests.unit.monitored import Scene, Scored

ODD = datetime.now(UTC) + timedelta(days=5 * 365)


def fast(name: str = "fast", **changed: object) -> Pipeline:
    """The toy on one partition."""
    return replace(toy(name, partitions=1), **changed)  # type: ignore[arg-type]


def at(events: pl.DataFrame, click: str, when: datetime, kind: str = "seen") -> pl.DataFrame:
    """Events of which one has another time, in their old order."""
    odd = (pl.col("click_id") == click) & (pl.col("kind") == kind)
    moment = pl.lit(when).cast(pl.Datetime("us", "UTC"))
    return events.with_columns(at=pl.when(odd).then(moment).otherwise("at"))


def letters(topics: PipelineTopics) -> Counter[tuple[str, str]]:
    """Stage and code of the dead letters, and how many there are of each."""
    found = (r for _, r in topics.read_control("dead"))
    return Counter((r.stage, r.code) for r in found if isinstance(r, DeadLetter))


@pytest.mark.parametrize("place", [0, 2, 39])
def test_one_event_of_a_fast_clock_is_the_only_dead_letter_of_its_partition(place: int) -> None:
    platform = MemoryPlatform(fast())
    platform.push(at(clicks(0, 40, labelled=False), f"c{place}", ODD))
    platform.run("preprocess")
    platform.push(clicks(9_000, 40, labelled=False))
    platform.run("preprocess")
    assert letters(platform.topics) == {("preprocess", "implausible_time"): 1}
    wanted = {f"c{i}" for i in [*range(40), *range(9_000, 9_040)] if i != place}
    assert set(platform.rows("features")["id"]) == wanted


def late_label(click: str, when: datetime) -> Pipeline:
    """A pipeline whose label of one click is of another time."""

    def labels(events: pl.DataFrame) -> pl.DataFrame:
        moment = pl.lit(when).cast(pl.Datetime("us", "UTC"))
        return events.filter(pl.col("kind") == "result").select(
            "offset",
            pl.col("bought").cast(pl.Float64).alias("label"),
            pl.when(pl.col("click_id") == click).then(moment).otherwise("at").alias("label_time"),
        )

    return fast(labels=labels)


@pytest.mark.parametrize("place", [0, 150])
def test_one_label_time_of_a_fast_clock_costs_one_example(place: int) -> None:
    platform = MemoryPlatform(late_label(f"c{place}", ODD))
    platform.push(clicks(0, 300))
    platform.run("preprocess", "join")
    assert letters(platform.topics) == {("preprocess", "implausible_time"): 1}
    assert set(platform.rows("examples")["id"]) == {f"c{i}" for i in range(300) if i != place}


def test_a_label_time_of_no_moment_is_a_dead_letter() -> None:
    platform = MemoryPlatform(late_label("c3", datetime(2101, 1, 1, tzinfo=UTC)))
    platform.push(clicks(0, 10))
    platform.run("preprocess")
    (letter,) = [r for _, r in platform.topics.read_control("dead")]
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "its label time is not from 1900-01-01 to 2100-01-01, the pipeline's times"


def test_a_label_that_came_another_way_cannot_stop_the_join() -> None:
    platform = MemoryPlatform(fast())
    platform.push(clicks(0, 100))
    platform.run("preprocess")
    label = platform.rows("labels").drop("@partition", "@offset").head(1)
    odd = label.with_columns(label_time=pl.lit(ODD).cast(pl.Datetime("us", "UTC")), id=pl.lit("elsewhere"))
    values = platform.topics.codec("labels").encode(odd)
    tp = platform.topics.tp("labels")
    now = int(datetime.now(UTC).timestamp() * 1000)
    platform.log.place(Chunk.of(tp, [platform.log.bounds(tp.topic)[0][1]], [b"k"], values, [now]))
    platform.run("join")
    platform.push(clicks(100, 100))
    platform.run("preprocess", "join")
    assert letters(platform.topics) == {("join", "implausible_time"): 1}
    assert set(platform.rows("examples")["id"]) == {f"c{i}" for i in range(200)}


def test_no_window_of_the_monitor_ends_for_a_fast_clock() -> None:
    scene = Scene()
    years = (ODD - BEGIN) / timedelta(minutes=1)
    records = [Scored(m, 0.5, 1.0, m + 15) for m in range(0, 50, 10)]
    scene.label(scene.score([*records, Scored(years, 0.5, 1.0, years)]))
    scene.label([records[0]._replace(labelled=years)])
    scene.run()
    assert letters(scene.topics) == {("monitor", "implausible_time"): 4}
    assert set(scene.metrics()["hour"]) == {-1}
    scene.label(scene.score([Scored(m, 0.5, 1.0, m + 15) for m in range(50, 70, 10)]))
    scene.run()
    assert scene.figures("predictions") == [(0, 1, 6)]


@pytest.mark.parametrize("make", [Preprocess, Join])
def test_odd_clocks_do_not_make_results_depend_on_batches_or_restarts(make: type[Preprocess] | type[Join]) -> None:
    platform = MemoryPlatform(late_label("c30", ODD))
    platform.push(at(clicks(0, 60), "c20", ODD))
    platform.run("preprocess")
    check_processor(make, platform.topics)


def test_features_are_made_again_past_an_odd_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.runner.recompute._BACK", 5)
    platform = MemoryPlatform(fast())
    platform.push(at(clicks(0, 60, labelled=False), "c57", ODD))
    platform.run("preprocess")
    row = platform.rows("features").drop("@partition", "@offset").row(-1, named=True)
    assert row["seen_10m"] > 0
    assert features_of(platform.topics, 0, row["raw_offset"]) == row


def test_a_quiet_month_and_a_replay_of_the_past_are_no_fast_clocks() -> None:
    platform = MemoryPlatform(fast())
    platform.push(clicks(0, 10, labelled=False))
    platform.push(clicks(300_000, 10, labelled=False))
    platform.run("preprocess")
    assert letters(platform.topics) == {}
    assert platform.rows("features").height == 20


def test_a_pipeline_says_how_far_its_clocks_may_be_ahead() -> None:
    assert fast().clock_ahead == timedelta(minutes=10) == fast().lateness
    declared = {n: getattr(toy("t"), n) for n in ("raw", "key", "id", "event_time", "features", "labels", "target")}
    assert Pipeline("t", **declared, horizon="1h", lateness="0s").clock_ahead == timedelta(minutes=1)
    platform = MemoryPlatform(fast(clock_ahead=timedelta(days=10 * 365)))
    platform.push(at(clicks(0, 10, labelled=False), "c9", ODD))
    platform.run("preprocess")
    assert letters(platform.topics) == {}


times = st.integers(-(2**62), 2**62)
moments = st.integers(-1, 2**42)


@given(st.lists(st.tuples(times, moments), min_size=1, max_size=20), st.integers(0, 10**12), st.data())
def test_whether_a_time_is_ahead_depends_on_its_record_alone(
    records: list[tuple[int, int]], span: int, data: st.DataObject
) -> None:
    allowed = timedelta(microseconds=span)
    count = len(records)
    whole = Chunk.of(TopicPartition("t", 0), range(count), [None] * count, [b""] * count, [s for _, s in records])
    column = pl.Series([t for t, _ in records]).cast(pl.Datetime("us", "UTC"))
    found = ahead(whole, np.arange(count), column, allowed).tolist()
    one = data.draw(st.integers(0, count - 1))
    alone = ahead(whole.slice(one, one + 1), np.arange(1), column.slice(one, 1), allowed).tolist()
    assert alone == [found[one]]
    time, stamp = records[one]
    if time > stamp * 1000 + span + 2_000:
        assert alone == [stamp >= 0]
    if time <= stamp * 1000 + span:
        assert alone == [False]


def test_records_without_a_timestamp_are_not_held_against_one() -> None:
    column = pl.Series([ODD]).cast(pl.Datetime("us", "UTC"))
    bare = Chunk.of(TopicPartition("t", 0), [0], [None], [b""])
    assert ahead(bare, np.arange(1), column, WORKER_CLOCKS).tolist() == [False]
