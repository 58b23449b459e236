"""The platform's promises on a real Kafka, with real processors as child processes."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headrace.client.follow import ModelSubscriber
from headrace.config import Settings
from headrace.embedded.stack import Stack
from headrace.governance.catalog import governance
from headrace.governance.decisions import order_rollback
from headrace.governance.policy import PolicyTimeline
from headrace.kafka.log import TopicPartition
from headrace.models.package.package import digest
from headrace.models.package.signing import Trust
from headrace.schema.records import Activated, GateResult, PartitionOffset, Policy, PolicyMarker, Route
from headrace.testing.models import model_package
from headrace.testing.pipelines import POISON, clicks, features
from headrace.topics.control import write_control
from tests.integration.platform import Platform, stop
from tests.waiting import wait_for

ANSWERS = pl.col("route") != "shadow"


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("toy"), settings, tmp_path)


@pytest.fixture
def launched(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    """One whose workers are started by their command lines."""
    return Platform(unique("toy"), settings, tmp_path, forked=False)


def mark_by_hand(platform: Platform, policy: Policy, partitions: int, name: str) -> dict[int, int]:
    """Write markers and their Activated record without `govern`; gives the markers' offsets."""
    topics = platform.topics
    writer = platform.log.writer(f"{topics.pipeline.name}.hand")
    writer.begin()
    marker = PolicyMarker(activation_id=name, policy=policy)
    placed = writer.write_and_wait(
        [topics.control("features", [marker], ["m"], partition=p) for p in range(partitions)]
    )
    offsets = {p: o[0] for p, o in enumerate(placed)}
    record = Activated(
        activation_id=name,
        model_id=policy.champion,
        policy=policy,
        markers=[PartitionOffset(partition=p, offset=o) for p, o in offsets.items()],
        reason="approval",
        order_offset=-1,
        evidence_hash="",
    )
    writer.write(topics.control("decisions", [record], [policy.champion]))
    writer.commit()
    writer.close()
    return offsets


def expected_features(platform: Platform) -> set[tuple[object, ...]]:
    """What features() gives on each partition's whole raw log at once."""
    wanted: set[tuple[object, ...]] = set()
    for _, part in platform.rows("raw").group_by("p"):
        log = part.sort("o").rename({"o": "offset"})
        wanted |= set(
            features(log)
            .join(log.select("offset", "click_id", "p"), on="offset")
            .select("p", "offset", "click_id", "price", "seen_10m")
            .rows()
        )
    return wanted


def assert_each_answered_once(platform: Platform) -> pl.DataFrame:
    """Each features record has exactly one answer; gives the answers."""
    answers = platform.rows("predictions").filter(ANSWERS)
    scored = sorted(answers.select("partition", "offset").rows())
    assert scored == sorted(platform.rows("features").select("p", "o").rows())
    return answers


def model_at(timeline: PolicyTimeline, partition: int, offset: int) -> str:
    """The model the marker rule names for a record, from the Activated records alone."""
    marked = timeline.at(partition, offset)
    assert marked is not None
    return marked.policy.champion


def test_a_year_in_small_every_record_has_one_outcome(launched: Platform) -> None:
    platform = launched
    rows = clicks(0, 1200)
    with platform.running("preprocess-0", "join-0", "infer-0", "infer-1", "govern-0") as workers:
        platform.push(rows)
        platform.push_bytes([None, b"\x01nonsense", b"\x00\x00\x0f\xff\xffbody"])
        platform.push(rows.filter(pl.col("kind") == "result").tail(1))
        platform.wait_rows("features", 1200)
        first = platform.activate(1)
        platform.wait_ruling(first)
        platform.push(clicks(1200, 300))
        second = platform.activate(2, shadows=(first,))
        platform.wait_ruling(second)
        platform.push(clicks(1500, 300))
        platform.wait_rows("outcomes", 1800)
        wait_for(lambda: platform.rows("predictions").filter(ANSWERS).height == 1800, 30, "1800 answers")
        began = time.monotonic()
        codes = {name: stop(child) for name, child in workers.items()}
        assert codes == dict.fromkeys(workers, 0)
        assert time.monotonic() - began < 30
    answers_frame = assert_each_answered_once(platform)
    timeline = governance(platform.topics).timeline
    wrong = [
        r
        for r in answers_frame.iter_rows(named=True)
        if r["model_id"] != model_at(timeline, r["partition"], r["offset"])
    ]
    assert wrong == []
    assert set(answers_frame["model_id"]) == {first, second}
    shadowed = platform.rows("predictions").filter(~ANSWERS)
    assert set(shadowed["model_id"]) == {first}
    assert sorted(shadowed.select("partition", "offset").rows()) == sorted(
        answers_frame.filter(pl.col("model_id") == second).select("partition", "offset").rows()
    )
    assert set(platform.rows("examples")["id"]) == set(platform.rows("features")["id"])
    assert sorted(platform.rows("dead")["code"]) == ["duplicate_label", "null_value", "unknown_schema", "wrong_magic"]
    found = set(platform.rows("features").select("p", "raw_offset", "id", "price", "seen_10m").rows())
    assert found == expected_features(platform)


@pytest.mark.parametrize(
    "fault", ["after_read:3", "after_begin:2", "after_write:2", "after_offsets:2", "after_commit:2"]
)
def test_a_crash_between_any_two_steps_loses_and_doubles_nothing(platform: Platform, fault: str) -> None:
    platform.push(clicks(0, 400))
    worker = platform.start("preprocess-0", fault)
    more = 400

    def dead() -> bool:
        nonlocal more
        platform.push(clicks(more, 20))
        more += 20
        return worker.poll() is not None

    wait_for(dead, 60, "the worker to come to its fault")
    assert worker.wait() == -9
    with platform.running("preprocess-0"):
        platform.wait_rows("features", more)
    found = platform.rows("features").select("p", "raw_offset", "id", "price", "seen_10m").rows()
    assert len(found) == more
    assert set(found) == expected_features(platform)
    assert len(platform.rows("labels")) == more


def test_every_processor_killed_and_started_from_nothing_comes_to_the_same_end(platform: Platform) -> None:
    names = ("preprocess-0", "join-0", "infer-0", "govern-0")
    workers = [platform.start(n) for n in names]
    platform.push(clicks(0, 600))
    model = platform.activate(3)
    platform.wait_rows("features", 200)
    for worker in workers:
        worker.kill()
        worker.wait()
    platform.push(clicks(600, 600))
    with platform.running(*names):
        platform.wait_ruling(model)
        platform.wait_rows("outcomes", 1200, 90)
    assert_each_answered_once(platform)
    assert platform.rows("outcomes")["id"].is_duplicated().sum() == 0
    assert platform.rows("examples")["id"].is_duplicated().sum() == 0
    found = set(platform.rows("features").select("p", "raw_offset", "id", "price", "seen_10m").rows())
    assert found == expected_features(platform)


def test_a_worker_waits_at_a_marker_whose_model_it_lacks(platform: Platform) -> None:
    known, late = (model_package(platform.topics.pipeline, s).manifest.model_id for s in (4, 5))
    platform.publish(4)
    with platform.running("preprocess-0", "infer-0"):
        mark_by_hand(platform, Policy(routes=[Route(model_id=known, weight=1)]), 3, "first")
        platform.push(clicks(0, 300))
        platform.wait_rows("predictions", 300)
        markers = mark_by_hand(platform, Policy(routes=[Route(model_id=late, weight=1)]), 3, "second")
        platform.push(clicks(300, 300))
        platform.wait_rows("features", 600)
        # Time to go wrong in: the worker has met the markers once it reports nothing new, and must score nothing.
        committed = wait_for(lambda: platform.log.committed(f"{platform.topics.pipeline.name}.infer"), 10, "commits")
        assert all(committed[TopicPartition(platform.topics.topic("features"), p)] <= o for p, o in markers.items())
        assert platform.rows("predictions").height == 300
        platform.publish(5)
        platform.wait_rows("predictions", 600)
    answers = assert_each_answered_once(platform)
    for row in answers.iter_rows(named=True):
        assert row["model_id"] == (known if row["offset"] < markers[row["partition"]] else late)
        assert (row["marker_offset"] == markers[row["partition"]]) == (row["model_id"] == late)


@pytest.mark.parametrize("backlog", ["SCORE", "SKIP"])
def test_records_before_the_first_marker_are_scored_under_it_or_passed_over(platform: Platform, backlog: str) -> None:
    model = platform.publish(6).model_id
    policy = Policy.model_validate({"routes": [{"model_id": model, "weight": 1}], "backlog": backlog})
    with platform.running("preprocess-0", "infer-0"):
        platform.push(clicks(0, 200))
        platform.wait_rows("features", 200)
        markers = mark_by_hand(platform, policy, 3, "first")
        platform.push(clicks(200, 100))
        platform.wait_rows("features", 300)
        platform.wait_rows("predictions", 300 if backlog == "SCORE" else 100)
    scored = set(platform.rows("predictions").select("partition", "offset").rows())
    wanted = platform.rows("features").select("p", "o")
    if backlog == "SKIP":
        wanted = wanted.filter(
            pl.struct("p", "o").map_elements(lambda r: r["o"] > markers[r["p"]], return_dtype=pl.Boolean)
        )
    assert scored == set(wanted.rows())


def test_a_broken_model_is_rejected_and_the_policy_in_force_stays(platform: Platform) -> None:
    with platform.running("preprocess-0", "infer-0", "govern-0"):
        good = platform.activate(7)
        platform.wait_ruling(good)
        platform.wait_loaded(good)  # until a worker is there, nobody is asked before a model comes into force
        garbage = b"this is no ONNX at all" * 10
        bad = digest(garbage)
        passed = GateResult(model_id=bad, gate="quality", passed=True, mode="block", summary="", evidence="{}")
        write_control(platform.topics, "decisions", [passed], [bad])
        platform.publish(8, garbage)
        platform.approve(bad)
        refusal = wait_for(lambda: list(governance(platform.topics).refused.values()), 40, "a refusal")
        platform.push(clicks(0, 100))
        platform.wait_rows("predictions", 100)
    assert set(platform.rows("predictions")["model_id"]) == {good}
    assert "worker infer-0 rejects model" in refusal[0].reason
    assert "its bytes are no ONNX model" in refusal[0].reason
    assert {a.model_id for a in governance(platform.topics).activations.values()} == {good}


def test_partitions_added_later_get_a_marker_before_their_records_are_scored(platform: Platform) -> None:
    with platform.running("preprocess-0", "infer-0", "govern-0"):
        model = platform.activate(9)
        platform.wait_ruling(model)
        platform.push(clicks(0, 100))
        platform.wait_rows("predictions", 100)
        for name in ("raw", "features", "labels", "predictions", "dead"):
            platform.log.add_partitions(platform.topics.topic(name), 6)
        wait_for(lambda: governance(platform.topics).timeline.marked_partitions() == set(range(6)), 40, "six markers")
        platform.push(clicks(100, 200))
        platform.wait_rows("predictions", 300, 60)
    answers = assert_each_answered_once(platform)
    assert {3, 4, 5} & set(answers["partition"].to_list())


def test_a_row_on_which_features_raises_is_dead_lettered_alone(platform: Platform) -> None:
    rows = clicks(0, 60, labelled=False)
    poisoned = rows.with_columns(
        pl.when(pl.col("click_id") == "c30").then(pl.lit(POISON)).otherwise(pl.col("price")).alias("price")
    )
    with platform.running("preprocess-0"):
        platform.push(poisoned)
        platform.wait_rows("features", 59)
        platform.wait_rows("dead", 1)
    assert set(platform.rows("features")["id"]) == set(rows["click_id"]) - {"c30"}
    dead = platform.rows("dead").row(0, named=True)
    assert (dead["stage"], dead["code"], dead["reason"]) == (
        "preprocess",
        "processor_failed",
        "ValueError: a price of -1",
    )
    assert "in features" in dead["traceback"]


def test_a_registry_that_is_away_pauses_the_stream_and_loses_nothing(
    own_stack: Stack, own_settings: Settings, unique: Callable[[str], str], tmp_path: Path
) -> None:
    platform = Platform(unique("toy"), own_settings, tmp_path)
    platform.push(clicks(0, 50))
    own_stack.stop_registry()
    try:
        worker = platform.start("preprocess-0")
        wait_for(lambda: "away" in platform.said("preprocess-0"), 40, "the worker to say that the registry is away")
        assert worker.poll() is None
    finally:
        own_stack.start_registry()
    try:
        platform.wait_rows("features", 50)
    finally:
        assert stop(worker) == 0
    assert platform.rows("dead").is_empty()
    assert len(platform.rows("features")) == 50


def test_rollback_puts_the_earlier_policy_in_force_by_the_same_path(platform: Platform) -> None:
    with platform.running("preprocess-0", "infer-0", "govern-0"):
        first = platform.activate(11)
        platform.wait_ruling(first)
        second = platform.activate(12)
        platform.wait_ruling(second)
        order_rollback(platform.topics, "test", "worse than before")
        back = platform.wait_ruling(first)
        platform.push(clicks(0, 50))
        platform.wait_rows("predictions", 50)
    assert back.reason == "rollback"
    assert set(platform.rows("predictions")["model_id"]) == {first}


def test_a_subscriber_changes_models_without_a_restart(platform: Platform) -> None:
    rows = pl.DataFrame({"id": ["a", "b"], "price": [0.2, 0.8], "seen_10m": [1, 3]})
    subscriber = ModelSubscriber(platform.topics, "shop", ("price", "seen_10m"), Trust(unsigned=True))
    with platform.running("govern-0"), subscriber as models:
        first = platform.activate(13)
        platform.wait_ruling(first)
        models.wait(20)
        before = models.score(rows)
        second = platform.activate(14)
        wait_for(lambda: models.in_force is not None and models.in_force.policy.champion == second, 40, "the swap")
        after = models.score(rows)
    assert before.model_ids == [first, first]
    assert after.model_ids == [second, second]
    assert not np.array_equal(before.scores, after.scores)


def test_a_processor_serves_health_and_metrics(launched: Platform) -> None:
    platform = launched
    with platform.running("preprocess-0"):
        platform.push(clicks(0, 20))
        platform.wait_rows("features", 20)
        lines = (json.loads(line) for line in platform.said("preprocess-0").splitlines() if line.startswith("{"))
        url = next(line["message"].split()[-1] for line in lines if "serving" in line["message"])
        health = json.load(urllib.request.urlopen(f"{url}/health", timeout=5))
        metrics = urllib.request.urlopen(f"{url}/metrics", timeout=5).read().decode()
    assert (health["status"], health["processor"]) == ("ready", "preprocess")
    topic = platform.topics.topic("features")
    written = [line for line in metrics.splitlines() if line.startswith("headrace_records_out_total") and topic in line]
    assert [line.split()[-1] for line in written] == ["20.0"]
    assert metrics.endswith("# EOF\n")


def test_workers_report_what_they_loaded(platform: Platform) -> None:
    with platform.running("infer-0", "govern-0"):
        model = platform.activate(15)
        platform.wait_ruling(model)
        said = {("LOADED", model), ("ACTIVE", model)}
        wait_for(lambda: platform.statuses() == said, 20, "LOADED and ACTIVE")
