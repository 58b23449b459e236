"""Inference on one partition: who scores what, in which order, and what happens to records that cannot be scored."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from headrace.governance.policy import answering
from headrace.kafka.log import Chunk, Output, TopicPartition, read_all
from headrace.kafka.memory import MemoryLog
from headrace.models.library import ModelLibrary
from headrace.models.package.package import Package
from headrace.models.package.signing import Trust
from headrace.models.package.topic import publication
from headrace.models.score.session import ScoringModel
from headrace.schema.records import Activated, PartitionOffset, Policy, PolicyMarker, Route, WorkerStatus
from headrace.schema.registry import MemoryRegistry
from headrace.streams.infer import Infer
from headrace.testing.models import model_package
from headrace.testing.pipelines import BEGIN, toy
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.processor import Step
from tests.integration.platform import only
from tests.waiting import wait_for


class Bench:
    """A pipeline of one partition in memory, and an infer that reads it."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.registry = MemoryRegistry()
        self.topics = PipelineTopics(toy("infer", partitions=1), self.log, self.registry)
        self.topics.init()
        self.writer = self.log.writer("test")
        self.packages = [model_package(self.topics.pipeline, seed) for seed in range(3)]
        self.ids = [p.manifest.model_id for p in self.packages]
        self.count = 0
        self.infer = Infer(self.topics, self.log, "infer-0", Trust(unsigned=True))

    def publish(self, *packages: Package) -> None:
        """Put models on their topic."""
        for package in packages:
            self._write(*publication(self.topics, package))

    def features(self, prices: Sequence[float]) -> None:
        """Append features records, numbered on."""
        ids = range(self.count, self.count + len(prices))
        self.count += len(prices)
        rows = pl.DataFrame(
            {
                "id": [f"c{i}" for i in ids],
                "key": ["k"] * len(prices),
                "event_time": [BEGIN + timedelta(seconds=i) for i in ids],
                "raw_offset": list(ids),
                "price": prices,
                "seen_10m": [i % 5 for i in ids],
            },
            schema_overrides={"price": pl.Float64, "event_time": pl.Datetime("us", "UTC")},
        )
        self._write(Output(self.tp, [b"k"] * len(prices), self.topics.codec("features").encode(rows)))

    def damaged(self, value: bytes) -> None:
        """Append bytes that are no features record."""
        self._write(Output(self.tp, [b"k"], [value]))

    def rule(self, name: str, policy: Policy) -> int:
        """Put a policy in force from here on; gives its marker's offset."""
        marker = self.topics.control("features", [PolicyMarker(activation_id=name, policy=policy)], ["m"])
        self.writer.begin()
        ((offset,),) = self.writer.write_and_wait([marker])
        activated = Activated(
            activation_id=name,
            model_id=policy.champion,
            policy=policy,
            markers=[PartitionOffset(partition=0, offset=offset)],
            reason="approval",
            order_offset=-1,
            evidence_hash="",
        )
        self.writer.write(self.topics.control("decisions", [activated], [policy.champion]))
        self.writer.commit()
        return offset

    def chunk(self) -> Chunk:
        """Everything on the features topic."""
        first, *rest = read_all(self.log, self.tp.topic)
        for chunk in rest:
            first = first.followed_by(chunk)
        return first

    def process(self, consumed: int | None = None) -> Step:
        """Give infer all there is, until it takes ``consumed`` of it (all, where not said)."""
        self.infer.assigned([self.tp])
        batch = self.chunk()
        found: list[Step] = []

        def taken() -> bool:
            found.append(self.infer.process(batch))
            return found[-1].consumed == (len(batch) if consumed is None else consumed)

        wait_for(taken, 20, "infer to take its records")
        return found[-1]

    def rows(self, step: Step, topic: str, *columns: str) -> list[tuple[object, ...]]:
        """Records of a step for one topic, in order, those columns of them."""
        values = [v for o in step.outputs if o.tp == self.topics.tp(topic) for v in o.values]
        return self.topics.codec(topic).decode(values).frame().select(columns).rows()

    @property
    def tp(self) -> TopicPartition:
        return self.topics.tp("features")

    def _write(self, *outputs: Output) -> None:
        self.writer.begin()
        for output in outputs:
            self.writer.write(output)
        self.writer.commit()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.infer.close()


def test_each_record_is_scored_by_the_model_of_the_last_marker_before_it(bench: Bench) -> None:
    bench.publish(*bench.packages[:2])
    first = bench.rule("a", only(bench.ids[0]))
    bench.features([0.1, 0.2, 0.3])
    second = bench.rule("b", only(bench.ids[1]))
    bench.features([0.4, 0.5])
    step = bench.process()
    assert bench.rows(step, "predictions", "id", "model_id", "marker_offset", "route") == [
        ("c0", bench.ids[0], first, "champion"),
        ("c1", bench.ids[0], first, "champion"),
        ("c2", bench.ids[0], first, "champion"),
        ("c3", bench.ids[1], second, "champion"),
        ("c4", bench.ids[1], second, "champion"),
    ]


def test_a_swap_in_the_middle_of_a_batch_loads_each_model_once(bench: Bench) -> None:
    bench.publish(*bench.packages[:2])
    bench.rule("a", only(bench.ids[0]))
    bench.features([0.1] * 10)
    bench.rule("b", only(bench.ids[1]))
    bench.features([0.2] * 10)
    assert bench.process().consumed == 22
    statuses = [s for o in bench.infer.tick().outputs for s in o.values]
    loaded = [bench.topics.codec("workers").decode_control(s) for s in statuses]
    assert sorted((s.model_id, s.state) for s in loaded if isinstance(s, WorkerStatus)) == sorted(
        (model_id, "LOADED") for model_id in bench.ids[:2]
    )


def test_figures_name_the_model_in_force_and_count_swaps(bench: Bench) -> None:
    bench.publish(*bench.packages[:2])
    for name, model in (("first", 0), ("second", 1)):
        bench.rule(name, only(bench.ids[model]))
        bench.features([0.5])
    bench.process()
    said = {f.name: (f.labels, f.value) for f in bench.infer.figures() if f.name != "swap_wait_seconds"}
    assert said == {
        "model_in_force": ({"partition": "0", "model_id": bench.ids[1]}, 1.0),
        "swaps": ({}, 1),
    }


def test_receipts_hold_the_very_scores_of_the_model(bench: Bench) -> None:
    bench.publish(bench.packages[0])
    bench.rule("a", only(bench.ids[0]))
    prices = np.linspace(0, 1, 50).tolist()
    bench.features(prices)
    rows = np.array([[p, i % 5] for i, p in enumerate(prices)], dtype=np.float32)
    expected = ScoringModel(bench.packages[0]).score(rows)
    outputs = bench.rows(bench.process(), "predictions", "outputs")
    assert np.array(outputs, dtype=np.float32).reshape(-1, 1).tobytes() == expected.tobytes()


def test_routes_split_by_id_and_shadows_follow_the_answer_they_shadow(bench: Bench) -> None:
    bench.publish(*bench.packages)
    policy = Policy(
        routes=[Route(model_id=bench.ids[0], weight=7), Route(model_id=bench.ids[1], weight=3)],
        shadows=[bench.ids[2]],
        salt="s",
    )
    bench.rule("a", policy)
    bench.features([0.5] * 40)
    ids = [f"c{i}" for i in range(40)]
    route = answering(policy, ids).tolist()
    assert set(route) == {0, 1}
    expected = []
    for id_, r in zip(ids, route, strict=True):
        expected += [(id_, bench.ids[r], ("champion", "candidate")[r]), (id_, bench.ids[2], "shadow")]
    assert bench.rows(bench.process(), "predictions", "id", "model_id", "route") == expected


def test_what_cannot_be_scored_is_dead_and_the_rest_is_not_held_up(bench: Bench) -> None:
    bench.publish(bench.packages[0])
    bench.rule("a", only(bench.ids[0]))
    bench.features([0.1, float("nan"), 0.3])
    bench.damaged(b"\x07garbage")
    bench.features([float("inf"), 0.6])
    step = bench.process()
    assert bench.rows(step, "predictions", "id", "offset") == [("c0", 2), ("c2", 4), ("c4", 9)]
    assert bench.rows(step, "dead", "stage", "code", "offset", "topic") == [
        ("infer", "feature_not_finite", 3, "infer.features"),
        ("infer", "wrong_magic", 6, "infer.features"),
        ("infer", "feature_not_finite", 8, "infer.features"),
    ]
    assert bench.rows(step, "dead", "key", "value")[1] == (b"k", b"\x07garbage")


def test_nothing_but_damage_gives_dead_letters_alone(bench: Bench) -> None:
    bench.publish(bench.packages[0])
    bench.rule("a", only(bench.ids[0]))
    bench.damaged(b"")
    bench.damaged(b"\x00\x00")
    step = bench.process()
    assert bench.rows(step, "predictions", "id") == []
    assert bench.rows(step, "dead", "code", "offset") == [("too_short", 2), ("too_short", 4)]


@pytest.mark.parametrize(("backlog", "scored"), [("SCORE", ["c0", "c1", "c2"]), ("SKIP", ["c2"])])
def test_records_from_before_the_first_model_are_scored_or_passed_over(
    bench: Bench, backlog: str, scored: list[str]
) -> None:
    bench.publish(bench.packages[0])
    bench.features([0.1, 0.2])
    policy = Policy.model_validate({"routes": [{"model_id": bench.ids[0], "weight": 1}], "backlog": backlog})
    bench.rule("a", policy)
    bench.features([0.3])
    assert [id_ for (id_,) in bench.rows(bench.process(), "predictions", "id")] == scored


def test_records_wait_for_a_model_that_is_not_here_yet(bench: Bench) -> None:
    bench.publish(bench.packages[0])
    bench.rule("a", only(bench.ids[0]))
    bench.features([0.1, 0.2])
    bench.rule("b", only(bench.ids[1]))
    bench.features([0.3])
    assert bench.rows(bench.process(consumed=3), "predictions", "id") == [("c0",), ("c1",)]
    bench.publish(bench.packages[1])
    assert bench.rows(bench.process(), "predictions", "id") == [("c0",), ("c1",), ("c2",)]


def test_decisions_read_while_the_registry_was_away_are_not_lost(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.publish(bench.packages[0])
    bench.rule("first", Policy(routes=[Route(model_id=bench.ids[0], weight=1)]))
    registry = copy.deepcopy(bench.registry)
    registry.away = True
    fresh = PipelineTopics(bench.topics.pipeline, bench.log, registry)
    library = ModelLibrary(fresh, bench.log, Trust(unsigned=True))
    wait_for(lambda: "cannot follow models" in caplog.text, 10, "the library to meet the registry that is away")
    registry.away = False
    wait_for(lambda: library.latest() is not None, 10, "the policy to be known")
    wait_for(lambda: library.model(bench.ids[0]) is not None, 30, "the model to be loaded")
    library.close()
