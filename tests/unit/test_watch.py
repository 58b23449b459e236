"""A watch shows what the topics and the groups say, each look only what is new read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from headrace.cli.watch_screen import screen
from headrace.kafka.log import TopicPartition
from headrace.kafka.memory import MemoryLog
from headrace.query.watch.look import Watch
from headrace.query.watch.view import Accuracy, Drifted, InForce
from headrace.runner.processors import PROCESSORS
from headrace.schema.records import (
    Activated,
    Approval,
    DeadLetter,
    GateResult,
    Metric,
    PartitionOffset,
    Policy,
    Rejection,
    RolledBack,
    Route,
)
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import toy
from headrace.topics.control import write_control
from headrace.topics.pipeline_topics import PipelineTopics

AT = datetime(2024, 2, 3, 4, tzinfo=UTC)
POLICY = Policy(routes=[Route(model_id="a" * 64, weight=3), Route(model_id="b" * 64, weight=1)], shadows=["c"])


def metric(name: str, value: float, hour: int = 1, version: int = 1, group: str = "", route: str = "") -> Metric:
    end = AT + timedelta(hours=hour)
    return Metric(
        model_id="a" * 64,
        route=route,
        name=name,
        group=group,
        window_start=end - timedelta(hours=1),
        window_end=end,
        value=value,
        count=9,
        version=version,
    )


@pytest.fixture
def topics() -> PipelineTopics:
    return in_memory(toy("p"))


@pytest.fixture
def watch(topics: PipelineTopics) -> Iterator[Watch]:
    watch = Watch(topics, tuple(PROCESSORS))
    yield watch
    watch.close()


def test_nothing_has_happened_yet(watch: Watch) -> None:
    view = watch.look()
    assert (view.models, view.drift, view.accuracy, view.decisions, view.dead) == ([], [], [], [], {})
    assert {(f.members, f.per_second, f.lag) for f in view.flows} == {(0, 0.0, 0)}


def test_decisions_come_newest_first_and_say_which_model_is_in_force(topics: PipelineTopics, watch: Watch) -> None:
    markers = [PartitionOffset(partition=0, offset=7), PartitionOffset(partition=2, offset=9)]
    records = [
        GateResult(
            model_id="a" * 64, gate="quality", passed=False, mode="block", summary="worse", evidence="{}", at=AT
        ),
        Approval(model_id="a" * 64, by="ann", evidence_hash="e", policy=POLICY, note="go", at=AT),
        Activated(
            activation_id="1",
            model_id="a" * 64,
            policy=POLICY,
            markers=markers,
            reason="approval",
            order_offset=1,
            evidence_hash="e",
            at=AT,
        ),
        RolledBack(activation_id="0", by="bob", reason="bad", at=AT),
        Rejection(model_id="d", by="ann", reason="no", at=AT),
    ]
    write_control(topics, "decisions", records, ["m"] * len(records))
    view = watch.look()
    assert [(d.kind, d.model_id, d.by, d.what) for d in view.decisions] == [
        ("rejected", "d", "ann", "no"),
        ("rollback", "", "bob", "bad"),
        ("activated", "a" * 64, "", "approval"),
        ("approved", "a" * 64, "ann", "go"),
        ("gate", "a" * 64, "", "quality FAILED: worse"),
    ]
    assert view.models == [InForce(0, "a" * 64, 7, 1, (0.75, 0.25)), InForce(2, "a" * 64, 9, 1, (0.75, 0.25))]
    assert watch.look().decisions == view.decisions


def test_the_latest_version_of_the_latest_window_counts_and_groups_do_not(topics: PipelineTopics, watch: Watch) -> None:
    records = [
        metric("psi.price", 0.3),
        metric("ks.price", 0.2),
        metric("psi.seen", 0.05),
        metric("psi.gone", 0.9, hour=0),
        metric("log_loss", 0.5, route="champion"),
        metric("auc", 0.7, route="champion"),
        metric("log_loss", 0.4, version=2, route="champion"),
        metric("log_loss", 9.0, hour=0, version=3, route="champion"),
        metric("log_loss", 8.0, group="user=x", hour=2, route="champion"),
        metric("brier", 0.1, hour=0, route="champion"),
    ]
    write_control(topics, "metrics", records, ["m"] * len(records))
    view = watch.look()
    end = AT + timedelta(hours=1)
    assert view.drift == [
        Drifted("price", "a" * 64, end, 0.3, 0.2),
        Drifted("seen", "a" * 64, end, 0.05, None),
    ]
    assert view.accuracy == [Accuracy("a" * 64, "champion", end, 2, {"log_loss": 0.4, "auc": 0.7})]


def test_flows_are_what_each_group_has_passed_and_has_before_it(topics: PipelineTopics, watch: Watch) -> None:
    log = topics.log
    assert isinstance(log, MemoryLog)
    write_control(topics, "decisions", [Rejection(model_id="d", by="a", reason="no")] * 10, ["m"] * 10)
    tp = TopicPartition("p.decisions", 0)
    log.commit("p.govern", {tp: 4})
    # Ten records and the marker of their transaction, which is no record: nobody consumes it.
    assert {f.processor: f.lag for f in watch.look().flows if f.lag} == {"govern": 6}
    log.commit("p.govern", {tp: 10})
    (flow,) = [f for f in watch.look().flows if f.processor == "govern"]
    assert (flow.lag, flow.per_second > 0) == (0, True)


def test_dead_letters_count_from_when_the_watch_began(topics: PipelineTopics) -> None:
    letter = DeadLetter(stage="infer", code="too_short", reason="r", topic="t", partition=0, offset=1)
    write_control(topics, "dead", [letter], ["k"])
    watch = Watch(topics, tuple(PROCESSORS))
    write_control(topics, "dead", [letter, letter], ["k", "k"])
    assert watch.look().dead == {"infer: too_short": 2}
    assert watch.look().dead == {"infer: too_short": 2}
    watch.close()


def test_a_view_is_a_screen_and_json(topics: PipelineTopics, watch: Watch) -> None:
    records = [metric("psi.price", 0.3), metric("ks.price", 0.2), metric("log_loss", 0.5, version=2, route="champion")]
    write_control(topics, "metrics", records, ["m"] * len(records))
    view = watch.look()
    console = Console(width=120)
    with console.capture() as shown:
        console.print(screen(view, console.width))
    lines = [" ".join(line.split()) for line in shown.get().splitlines()]
    assert "no model is in force yet" in lines
    assert f"price 0.300 0.200 {'#' * 40}" in lines
    assert "aaaaaaaaaaaa champion 24-02-03 05:00 v2 0.500" in lines
    assert json.loads(json.dumps(view.plain()))["drift"][0]["window_end"] == "2024-02-03T05:00:00+00:00"
