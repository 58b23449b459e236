"""The join held against its rule as it was first written: the same records, in the same order, the same rebuild."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.codec.column import BytesColumn
from headrace.kafka.log import Chunk, Output
from headrace.state import budget, segment
from headrace.state.budget import Budget
from headrace.state.records import Arrived
from headrace.streams.join import pairing
from headrace.streams.join.processor import Join
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import BEGIN, toy
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.processor import Processor
from tests.naive.join import Join as NaiveJoin
from tests.naive.pairing import HeldLabel
from tests.naive.pairing import Pairs as NaivePairs

INPUTS = ("features", "predictions", "labels")


class Event(NamedTuple):
    """A record: the toy's label horizon is two hours."""

    id: str
    minutes: int
    keyed: bool = True
    good: bool = True


Batch = tuple[str, Sequence[Event]]

EVENTS = st.builds(
    Event,
    id=st.sampled_from(["a", "b", "c", "", "ab", "ü" * 40]),
    minutes=st.integers(0, 90).map(lambda tens: 10 * tens),
    keyed=st.booleans(),
    good=st.sampled_from([True] * 9 + [False]),
)
RISING = st.integers(-200, 200)
PLANS = st.lists(st.tuples(st.sampled_from(INPUTS), st.lists(EVENTS, max_size=8)), max_size=14)


@st.composite
def marching(draw: st.DrawFn) -> list[Batch]:
    """Batches whose times go on, so that records expire: late ones and repeats among them."""
    plan: list[Batch] = []
    now = 0
    for _ in range(draw(st.integers(1, 30))):
        now += draw(st.integers(0, 90))
        events = draw(st.lists(EVENTS, min_size=1, max_size=6))
        times = [now + draw(RISING) for _ in events]
        moved = [e._replace(minutes=m) for e, m in zip(events, times, strict=True)]
        plan.append((draw(st.sampled_from(INPUTS)), moved))
    return plan


class Fed:
    """A join on one partition, fed by hand."""

    def __init__(self, join: Processor, topics: PipelineTopics) -> None:
        self.join = join
        self._topics = topics
        self.tps = [topics.tp(name) for name in INPUTS]
        join.assigned(self.tps)

    def feed(self, topic: str, offset: int, events: Sequence[Event]) -> list[tuple[object, ...]]:
        """Give the join records as one batch, with every second offset; what it writes, as comparable rows."""
        step = self.join.process(chunk(self._topics, topic, offset, events))
        return [self._seen(output) for output in step.outputs if len(output)]

    def starts(self, at: dict[str, int]) -> list[int]:
        """Where each topic would be read from again."""
        return [self.join.rebuild_from(tp, at[name]) for tp, name in zip(self.tps, INPUTS, strict=True)]

    def _seen(self, output: Output) -> tuple[object, ...]:
        name = self._topics.short(output.tp.topic)
        values = list(output.values)
        if name == "dead":
            rows = self._topics.codec(name).decode(values).frame().drop("at").rows()
            return (output.tp, list(output.keys), rows, dict(output.codes))
        return (output.tp, list(output.keys), values)


def chunk(topics: PipelineTopics, topic: str, offset: int, events: Sequence[Event]) -> Chunk:
    """A batch of one of the inputs; a record that is not ``good`` cannot be decoded, or is no label of the target."""
    rows: dict[str, Sequence[object]] = {
        "id": [e.id for e in events],
        "key": ["k"] * len(events),
        "event_time": [BEGIN + timedelta(minutes=e.minutes) for e in events],
        "label_time": [BEGIN + timedelta(minutes=e.minutes) for e in events],
        "label": [float(e.minutes % 20 == 0) if e.good else 7.0 for e in events],
        "raw_offset": range(offset, offset + len(events)),
        "price": [e.minutes / 8 for e in events],
        "seen_10m": [e.minutes for e in events],
        "source": ["raw"] * len(events),
        "source_offset": range(len(events)),
        "partition": [0] * len(events),
        "offset": range(len(events)),
        "model_id": ["m"] * len(events),
        "marker_offset": [3] * len(events),
        "route": ["champion"] * len(events),
        "outputs": [[e.minutes / 16] for e in events],
        "runtime": [""] * len(events),
    }
    columns = topics.columns(topic)
    frame = pl.DataFrame({name: pl.Series(rows[name], dtype=dtype) for name, dtype in columns.items()})
    values = list(topics.codec(topic).encode(frame))
    if topic != "labels":
        values = [v if e.good else b"\0none" for v, e in zip(values, events, strict=True)]
    offsets = range(offset, offset + 2 * len(events), 2)
    return Chunk.of(topics.tp(topic), list(offsets), [b"k" if e.keyed else None for e in events], values)


@pytest.fixture(scope="module")
def topics() -> PipelineTopics:
    return in_memory(toy("rule", partitions=1))


@pytest.fixture(params=["memory", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Budget]:
    """Where what is held goes: all of it in memory, or each batch into a file of its own."""
    if request.param == "memory":
        yield Budget()
        return
    monkeypatch.setattr(segment, "MOST_ROWS", 3)
    monkeypatch.setattr(budget, "LEAST", 0)
    made = Budget(0, tmp_path)
    yield made
    made.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("plans", [PLANS, marching()], ids=["any times", "times that go on"])
def test_the_join_writes_what_its_rule_says_and_rebuilds_from_the_same_offsets(
    topics: PipelineTopics, place: Budget, plans: st.SearchStrategy[list[Batch]]
) -> None:
    @given(plans, st.integers(0, 13))
    @settings(max_examples=40, deadline=None)
    @example([("labels", [Event("a", m) for m in range(0, 1200, 100)]), ("features", [Event("a", 1000)])], 0)
    def holds(plan: list[Batch], restart: int) -> None:
        rule, join = Fed(NaiveJoin(topics), topics), Fed(Join(topics, place), topics)
        at = dict.fromkeys(INPUTS, 0)
        done: list[tuple[str, int, Sequence[Event]]] = []
        for number, (topic, events) in enumerate(plan):
            if number == restart:
                for fed in (rule, join):
                    again(fed, at, done)
            assert join.feed(topic, at[topic], events) == rule.feed(topic, at[topic], events)
            done.append((topic, at[topic], events))
            at[topic] += 2 * len(events)
            assert join.starts(at) == rule.starts(at)

    holds()


def again(fed: Fed, at: dict[str, int], done: Sequence[tuple[str, int, Sequence[Event]]]) -> None:
    """Start again: the state is rebuilt topic by topic, in batches cut otherwise."""
    starts = dict(zip(INPUTS, fed.starts(at), strict=True))
    fed.join.assigned(fed.tps)
    for topic in INPUTS:
        for name, offset, events in done:
            for place, event in enumerate(events):
                if name == topic and offset + 2 * place >= starts[topic]:
                    fed.feed(topic, offset + 2 * place, [event])


class Sizes(NamedTuple):
    """How a run of many records is made."""

    ids: int
    horizon: int
    batch: int


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [Sizes(20_000, 4_000, 700), Sizes(3, 50, 400), Sizes(200, 1_000, 1)], ids=str)
def test_over_many_records_the_same_pairs_are_found(sizes: Sizes) -> None:
    chance = random.Random(7)
    rule, pairs = NaivePairs[int](sizes.horizon), pairing.Pairs(sizes.horizon)
    now = offset = 0
    for _ in range(60_000 // sizes.batch if sizes.batch > 1 else 3_000):
        now += chance.randint(0, sizes.batch)
        ids = [str(chance.randrange(sizes.ids)) for _ in range(sizes.batch)]
        times = [now - chance.randint(0, sizes.horizon * 2) for _ in ids]
        offsets = list(range(offset, offset + sizes.batch))
        offset += sizes.batch
        arrived = arrived_at(ids, times, offsets)
        if chance.random() < 0.5:
            waited = [rule.add_left(i, t, o, o) for i, t, o in zip(ids, times, offsets, strict=True)]
            early = pairs.add_lefts(pairing.EXAMPLES, arrived)
            found = list(zip(early.places.tolist(), early.labels.offsets.tolist(), strict=True))
            assert found == [(k, label.offset) for k, label in enumerate(waited) if label is not None]
        else:
            given_ = [rule.add_label(i, t, o, 1.0, (None, None)) for i, t, o in zip(ids, times, offsets, strict=True)]
            repeats, (late, _) = pairs.add_labels(arrived)
            assert repeats.tolist() == [lefts is None for lefts in given_]
            found = list(zip(late.places.tolist(), late.lefts.offsets.tolist(), strict=True))
            assert found == [(k, left.offset) for k, lefts in enumerate(given_) for left in lefts or ()]
        orphans: list[HeldLabel] = rule.let_go()
        assert pairs.let_go().offsets.tolist() == [label.offset for label in orphans]
        assert pairs.earliest_left(pairing.EXAMPLES, offset) == rule.earliest_left(offset)


def arrived_at(ids: Sequence[str], times: Sequence[int], offsets: Sequence[int]) -> Arrived:
    """Records whose value is their id."""
    column = BytesColumn.of([i.encode() for i in ids])
    moments = np.array(times, dtype=np.int64)
    return Arrived(column, moments, moments, np.array(offsets, dtype=np.int64), column, column)


def test_state_is_bounded_by_the_horizon() -> None:
    pairs = pairing.Pairs(horizon=120)
    for offset, minute in enumerate(range(0, 2000, 10)):
        one = arrived_at([str(minute)], [minute], [offset])
        pairs.add_lefts(pairing.EXAMPLES, one)
        pairs.add_lefts(pairing.OUTCOMES, one)
        pairs.add_labels(one)
        assert pairs.let_go().offsets.tolist() == []
    kept = (200 - pairs.earliest_left(kind, 200) for kind in (pairing.EXAMPLES, pairing.OUTCOMES))
    assert (*kept, 200 - pairs.earliest_label(200)) == (2 * 12 + 1, 2 * 12 + 1, 4 * 12 + 1)
