"""Trainings: each trigger has one outcome, a fit is not thrown away, and a model is published once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from headrace.errors import TransactionAborted
from headrace.governance.catalog import published, trained_again
from headrace.jobs.child import ChildError
from headrace.models.package.package import Package
from headrace.query.models import model_views
from headrace.schema.records import DeadLetter, ModelChunk, ModelManifest, OffsetRange, TrainingTrigger
from headrace.streams.retrain import Retrain
from headrace.testing.memory import in_memory
from headrace.testing.models import model_package
from headrace.testing.pipelines import toy
from headrace.topics.control import write_control
from headrace.worker.loop import ExactlyOnceLoop
from tests.unit.governed import loop_of
from tests.unit.loops import ScriptedLog, turn, until


class Trained:
    """A training: done as soon as it is let."""

    def __init__(self, package: Package | ChildError, may: Callable[[], bool]) -> None:
        self._package = package
        self._may = may
        self.closed = False

    def result(self) -> Package | None:
        assert not self.closed, "a result was asked for that was thrown away"
        if not self._may():
            return None
        if isinstance(self._package, ChildError):
            raise self._package
        return self._package

    def over(self) -> bool:
        return self._may()

    def close(self) -> None:
        self.closed = True


class School:
    """A pipeline in memory, a retrain for it, and trainings that give the models they are told to."""

    def __init__(self) -> None:
        self.log = ScriptedLog()
        self.topics = in_memory(toy("school", partitions=1), self.log)
        self.gives: dict[str, Package | ChildError] = {}
        self.started: list[str] = []
        self.runs: list[Trained] = []
        self.ready = True
        self.loop = self.retrain()

    def retrain(self, name: str = "w") -> ExactlyOnceLoop:
        """A retrain worker."""
        return loop_of(self.log, self.topics, Retrain(self.topics, self), name)

    def warm(self) -> None:
        pass

    def start(self, asked: dict[str, Any]) -> Trained:
        self.started.append(asked["trigger"]["trigger_id"])
        self.runs.append(Trained(self.gives[self.started[-1]], lambda: self.ready))
        return self.runs[-1]

    def ask(self, trigger_id: str, gives: int | ChildError) -> None:
        """Ask for a training that gives the model of a seed, or fails."""
        package = gives if isinstance(gives, ChildError) else self._package(trigger_id, gives)
        self.gives[trigger_id] = package
        ranges = [OffsetRange(partition=0, start=0, stop=1)]
        trigger = TrainingTrigger(
            trigger_id=trigger_id, reason="person", detail="", requester="ann", event_time=None, ranges=ranges
        )
        write_control(self.topics, "triggers", [trigger], [trigger_id])

    def _package(self, trigger_id: str, seed: int) -> Package:
        made = model_package(self.topics.pipeline, seed)
        lineage = made.manifest.lineage.model_copy(update={"trigger_id": trigger_id})
        return Package(made.manifest.model_copy(update={"lineage": lineage}), made.onnx)

    def done(self) -> bool:
        """Whether every trigger is consumed."""
        end = self.log.high_watermarks(self.topics.topic("triggers"))[0]
        committed = self.log.committed("school.retrain").get(self.topics.tp("triggers"), 0)
        return committed >= end - 1 and committed > 0

    def manifests(self) -> list[str]:
        """The triggers of the manifests on the models topic."""
        records = (r for _, r in self.topics.read_control("models"))
        return [r.lineage.trigger_id for r in records if isinstance(r, ModelManifest)]

    def chunks(self) -> list[str]:
        """Trigger and index of the chunks on their topic."""
        of = {p.manifest.model_id: t for t, p in self.gives.items() if isinstance(p, Package)}
        records = (r for _, r in self.topics.read_control("model_chunks"))
        return [f"{of[r.model_id]}/{r.index}" for r in records if isinstance(r, ModelChunk)]

    def dead(self) -> list[str]:
        """Codes of the dead letters."""
        return [r.code for _, r in self.topics.read_control("dead") if isinstance(r, DeadLetter)]


def leave(loop: ExactlyOnceLoop) -> None:
    loop.stop()
    loop.run()


@pytest.fixture
def school() -> Iterator[School]:
    made = School()
    until(lambda: made.loop.status.ready, made.loop)
    yield made
    leave(made.loop)


def abort() -> None:
    raise TransactionAborted("scripted")


@pytest.mark.parametrize("at", range(1, 11))
def test_a_fit_is_not_thrown_away_with_a_transaction_that_is_given_up(school: School, at: int) -> None:
    school.ask("t1", 1)
    school.log.script(at, abort)
    until(school.done, school.loop)
    assert (school.started, school.manifests(), school.chunks()) == (["t1"], ["t1"], ["t1/0"])


@pytest.mark.parametrize("at", range(1, 19))
def test_neither_are_those_of_two_triggers_in_one_transaction(school: School, at: int) -> None:
    failed = ChildError("too few examples", "TrainingRefused", "")
    school.ask("t1", failed)
    school.ask("t2", 2)
    school.log.script(at, abort)
    until(school.done, school.loop)
    assert (school.started, school.manifests(), school.dead()) == (["t1", "t2"], ["t2"], ["training_refused"])


def test_a_training_goes_on_over_a_rebalance_that_brings_its_trigger_back(school: School) -> None:
    school.ready = False
    school.ask("t1", 1)
    until(lambda: bool(school.started), school.loop)
    with school.log.lock:
        school.log.groups["school.retrain"].changed()
    turn(school.loop, times=20)
    school.ready = True
    until(school.done, school.loop)
    assert (school.started, school.manifests()) == (["t1"], ["t1"])


def test_a_training_ends_where_another_worker_has_its_trigger(school: School) -> None:
    school.ready = False
    school.ask("t1", 1)
    until(lambda: bool(school.started), school.loop)
    other = school.retrain("a")
    until(lambda: sorted(run.closed for run in school.runs) == [False, True], school.loop, other)
    assert school.started == ["t1", "t1"]
    leave(other)


def test_a_training_ends_where_another_worker_has_done_its_trigger(school: School) -> None:
    school.ready = False
    school.ask("t1", 1)
    until(lambda: bool(school.started), school.loop)
    tp = school.topics.tp("triggers")
    with school.log.lock:
        group = school.log.groups["school.retrain"]
        group.committed[tp] = group.committed[tp]._replace(offset=school.log.high_watermarks(tp.topic)[0])
        group.changed()
    until(lambda: school.runs[0].closed, school.loop)
    assert school.manifests() == []


def test_a_training_that_gives_a_published_model_keeps_the_first_ones_trigger_and_says_so(
    school: School, caplog: pytest.LogCaptureFixture
) -> None:
    for trigger in ("t1", "t2", "t3"):
        school.ask(trigger, 1)
    with caplog.at_level("INFO", "headrace.retrain"):
        until(school.done, school.loop)
    assert school.manifests() == ["t1"]
    (model_id,) = published(school.topics)
    said = [r.getMessage() for r in caplog.records if "same model" in r.getMessage()]
    assert said == [
        f"trigger {t} gave the same model as already published: {model_id[:12]}, of trigger t1" for t in ("t2", "t3")
    ]
    assert [(a.trigger_id, a.requester) for a in trained_again(school.topics)[model_id]] == [
        ("t2", "ann"),
        ("t3", "ann"),
    ]
    assert [v.again for v in model_views(school.topics)] == [("t2", "t3")]
    assert school.dead() == []
