"""Records that Kafka drops before workers have read them: told by workers and the audit, accepted in writing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.config import Settings
from headrace.governance.losses import accept_losses, accepted_losses
from headrace.kafka.log import TopicPartition
from headrace.query.audit.audit import audit
from headrace.query.audit.kept import GROUPS
from headrace.runner.processors import PROCESSORS
from headrace.testing.pipelines import clicks
from headrace.topics.table import TOPICS
from tests.contract.members import delete_topic, drop_before, settled
from tests.integration.platform import Platform
from tests.waiting import wait_for

pytestmark = pytest.mark.kafka
DROPPED = ("raw", "features", "labels", "predictions", "outcomes", "triggers", "decisions")
"""Topics that a broker may drop records from: those that are compacted alone lose none so."""
STOPPED_BY = {
    "preprocess": ("raw",),
    "infer": ("features",),
    "join": ("features", "labels", "predictions"),
    "retrain": ("triggers",),
    "govern": ("decisions",),
    "monitor": ("features", "outcomes", "predictions", "triggers"),
}


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("toy"), settings, tmp_path)


def test_the_audit_looks_at_every_processor() -> None:
    assert set(GROUPS) == set(PROCESSORS)


def test_every_processor_stops_at_what_was_dropped_and_goes_on_once_that_is_accepted(platform: Platform) -> None:
    topics, log = platform.topics, platform.log
    names = list(STOPPED_BY)
    groups = {name: f"{topics.pipeline.name}.{name}" for name in names}
    with platform.running(*(f"{name}-0" for name in names)):
        for name, group in groups.items():
            wanted = {topics.topic(t) for t in STOPPED_BY[name]}
            wait_for(
                lambda group=group, wanted=wanted: wanted <= {tp.topic for tp in log.committed(group)},  # type: ignore[misc]
                60,
                f"{name} has written down where it starts",
            )
    gone: dict[str, list[TopicPartition]] = {}
    sender = log.sender("test")
    for name in DROPPED:
        sender.send(topics.topic(name), [b"%d" % i for i in range(40)], [b"\x00nothing of ours"] * 40)
    sender.flush()
    for name in DROPPED:
        settled(log, topics.topic(name))
        for partition, (_, end) in log.bounds(topics.topic(name)).items():
            drop_before(log, topics.tp(name, partition), end)
            gone.setdefault(name, []).append(topics.tp(name, partition))
    report = audit(topics)
    assert {v.subject for v in report.violations if v.rule == "kept"} == set(STOPPED_BY)
    assert {v.rule for v in report.violations} == {"kept"}
    with platform.running(*(f"{name}-1" for name in names)) as children:
        for name, child in children.items():
            assert wait_for(lambda child=child: child.poll(), 60, f"{name} stops") == 1, platform.said(name)  # type: ignore[misc]
    for name, inputs in STOPPED_BY.items():
        said = platform.said(f"{name}-1")
        assert f"{name} stops: Kafka no longer has what it needs to go on. " in said
        for tp in (tp for t in inputs for tp in gone[t]):
            assert f"{tp}: offsets " in said
        assert f"To go on without them, in writing: headrace run {name} PIPELINE --accept-loss" in said
    for name, group in groups.items():
        lost = accept_losses(topics, group, PROCESSORS[name].reads, "ann")
        assert {m.tp for m in lost} == {tp for t in STOPPED_BY[name] for tp in gone[t]}
    report = audit(topics)
    assert report.ok, report.violations
    assert sum(note.startswith("offsets that ann accepted as lost: ") for note in report.notes) == len(
        accepted_losses(topics)
    )
    with platform.running("preprocess-2", "join-2"):
        platform.push(clicks(0, 50))
        platform.wait_rows("features", 50)
        platform.wait_rows("examples", 50)


def test_a_topic_made_again_under_a_running_worker_stops_it(platform: Platform) -> None:
    raw = platform.topics.topic("raw")
    with platform.running("preprocess-0") as children:
        platform.push(clicks(0, 50))
        platform.wait_rows("features", 50)
        delete_topic(platform.log, raw)
        topic = TOPICS["raw"]
        wait_for(
            lambda: platform.log.create_topics({raw: (platform.topics.pipeline.partitions, topic.config)}) == [raw],
            20,
            "the topic is made again",
        )
        platform.push(clicks(50, 10))
        assert wait_for(lambda: children["preprocess-0"].poll(), 60, "it stops") == 1, platform.said("preprocess-0")
    said = platform.said("preprocess-0")
    assert "preprocess stops: " in said
    assert "deleted and made again" in said
