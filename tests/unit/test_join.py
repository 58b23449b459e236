"""The join: which labels find their features, in time, early, late and twice, however the two topics interleave."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import zip_longest

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.kafka.log import Chunk, Output
from headrace.streams.join.processor import Join
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import BEGIN, toy

Event = tuple[str, int]
"""An id, and its time in minutes. The toy's label horizon is two hours."""


class Bench:
    """A join on one partition, fed by hand."""

    def __init__(self) -> None:
        self.topics = in_memory(toy("join", partitions=1))
        self.join = Join(self.topics)
        self.join.assigned([self.topics.tp(name) for name in ("features", "labels", "predictions")])
        self.at = {"features": 0, "labels": 0}
        self.outputs: list[Output] = []

    def feed(self, topic: str, events: Sequence[Event]) -> None:
        """Give the join the topic's next records as one batch."""
        count = len(events)
        ids = [id_ for id_, _ in events]
        times = [BEGIN + timedelta(minutes=minutes) for _, minutes in events]
        common = {"id": ids, "key": ["k"] * count}
        if topic == "features":
            columns = {"event_time": times, "raw_offset": [0] * count, "price": [0.5] * count, "seen_10m": [1] * count}
        else:
            columns = {"label": [1.0] * count, "label_time": times, "source": ["raw"] * count}
            columns["source_offset"] = [0] * count
        values = self.topics.codec(topic).encode(pl.DataFrame(common | columns))
        offsets = range(self.at[topic], self.at[topic] + count)
        self.at[topic] += count
        batch = Chunk.of(self.topics.tp(topic), list(offsets), [b"k"] * count, values)
        self.outputs += self.join.process(batch).outputs

    def rows(self, topic: str, *columns: str) -> list[tuple[object, ...]]:
        """What was written to a topic, those columns of it, sorted."""
        values = [v for o in self.outputs if o.tp == self.topics.tp(topic) for v in o.values]
        return sorted(self.topics.codec(topic).decode(values).frame().select(columns).rows())

    def pairs(self) -> list[tuple[object, ...]]:
        return self.rows("examples", "feature_offset", "label_offset")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_label_pairs_with_its_features_when_it_comes(bench: Bench) -> None:
    bench.feed("features", [("a", 0), ("b", 1)])
    assert bench.outputs == []
    bench.feed("labels", [("b", 60)])
    assert bench.rows("examples", "id", "feature_offset", "label_offset") == [("b", 1, 0)]


def test_an_early_label_waits_for_its_features(bench: Bench) -> None:
    bench.feed("labels", [("a", 60)])
    assert bench.outputs == []
    bench.feed("features", [("a", 0)])
    assert bench.rows("examples", "id", "feature_offset", "label_offset") == [("a", 0, 0)]


def test_a_second_label_of_an_id_is_a_dead_letter_and_the_first_counts(bench: Bench) -> None:
    bench.feed("features", [("a", 0)])
    bench.feed("labels", [("a", 10), ("a", 20)])
    bench.feed("labels", [("a", 30)])
    assert bench.pairs() == [(0, 0)]
    assert bench.rows("dead", "code", "offset") == [("duplicate_label", 1), ("duplicate_label", 2)]


def test_a_label_later_than_the_horizon_finds_nothing_and_becomes_an_orphan(bench: Bench) -> None:
    bench.feed("features", [("a", 0)])
    bench.feed("labels", [("a", 121)])
    assert bench.outputs == []
    bench.feed("features", [("b", 300)])
    bench.feed("labels", [("b", 310)])
    assert bench.pairs() == [(1, 1)]
    assert bench.rows("dead", "code", "offset") == [("orphan_label", 0)]


def test_a_label_that_would_take_features_already_paired_is_an_orphan(bench: Bench) -> None:
    bench.feed("features", [("a", 60)])
    bench.feed("labels", [("a", 0), ("a", 121)])
    bench.feed("features", [("z", 400)])
    bench.feed("labels", [("z", 400)])
    assert bench.pairs() == [(0, 0), (1, 2)]
    assert bench.rows("dead", "code", "offset") == [("orphan_label", 1)]


EVENTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60).map(lambda tens: 10 * tens)), max_size=12)


@pytest.mark.slow
@given(EVENTS, EVENTS, st.data())
@settings(max_examples=60)
def test_the_pairs_do_not_depend_on_how_the_topics_interleave(
    features: list[Event], labels: list[Event], data: st.DataObject
) -> None:
    one, other = Bench(), Bench()
    for bench in (one, other):
        left = {"features": list(features), "labels": list(labels)}
        while any(left.values()):
            topic = data.draw(st.sampled_from([t for t, events in left.items() if events]))
            count = data.draw(st.integers(1, len(left[topic])))
            bench.feed(topic, left[topic][:count])
            left[topic] = left[topic][count:]
    assert one.pairs() == other.pairs()
    assert one.rows("dead", "code", "offset") == other.rows("dead", "code", "offset")


@pytest.mark.slow
@given(EVENTS, EVENTS, EVENTS, EVENTS)
@settings(max_examples=60)
def test_a_rebuilt_state_goes_on_as_the_one_that_was(
    features: list[Event], labels: list[Event], more_features: list[Event], more_labels: list[Event]
) -> None:
    one, again = Bench(), Bench()
    for bench in (one, again):
        for feature, label in zip_longest(features, labels):
            bench.feed("features", [feature] if feature else [])
            bench.feed("labels", [label] if label else [])
        bench.outputs = []
    starts = {t: again.join.rebuild_from(again.topics.tp(t), again.at[t]) for t in ("features", "labels")}
    again.join.assigned([again.topics.tp(name) for name in ("features", "labels", "predictions")])
    for topic, events in (("features", features), ("labels", labels)):
        again.at[topic] = starts[topic]
        again.feed(topic, events[starts[topic] :])
    again.outputs = []
    for bench in (one, again):
        bench.feed("features", more_features)
        bench.feed("labels", more_labels)
    assert one.pairs() == again.pairs()
    assert one.rows("dead", "code", "offset") == again.rows("dead", "code", "offset")


def test_an_outcome_names_the_features_that_were_scored_and_the_prediction(bench: Bench) -> None:
    row = {"id": "a", "key": "k", "event_time": BEGIN, "partition": 0, "offset": 41, "model_id": "m"}
    row |= {"marker_offset": 3, "route": "champion", "outputs": [0.5], "runtime": ""}
    values = bench.topics.codec("predictions").encode(pl.DataFrame([row]).cast({"partition": pl.Int32}))
    bench.join.process(Chunk.of(bench.topics.tp("predictions"), [7], [b"k"], values))
    bench.feed("labels", [("a", 60)])
    assert bench.rows("outcomes", "id", "feature_offset", "prediction_offset", "label_offset") == [("a", 41, 7, 0)]
