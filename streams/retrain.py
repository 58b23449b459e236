"""triggers -> model_chunks, models: each trigger's training runs in a child, its offset commits with the model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from headrace.errors import Unavailable
from headrace.governance.catalog import AGAIN, published
from headrace.jobs.child import ChildError, ChildRunner
from headrace.jobs.kept import KeptRuns, Runner
from headrace.jobs.train.job import LEFT_OUT, result, work
from headrace.kafka.log import Chunk, Output, TopicPartition
from headrace.models.package.package import Package
from headrace.models.package.topic import publication
from headrace.schema.records import TrainedAgain, TrainingTrigger
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.processor import IDLE, Figure, Stateless, Step

log = logging.getLogger("headrace.retrain")
NEEDED = ("headrace.jobs.train.job", "headrace.jobs.train.fit", "headrace.jobs.train.dataset", "sklearn.metrics")
"""What a training imports."""
UNUSABLE = "their label is none of the target's, or a feature is no finite 32-bit float (examples of an older version?)"


def training_in_children(spec: dict[str, Any]) -> ChildRunner[Package]:
    """Trains in child processes.

    Args:
        spec: what a child needs to connect as its parent does.
    """
    return ChildRunner(work, result, spec, NEEDED)


class Retrain(Stateless):
    """One trigger at a time. A crash trains again; a rebalance or an aborted transaction does not. A model is published
    once, whichever trainings give it.

    Args:
        topics: the pipeline's topics.
        trainer: trains.
        failures: gives what failed in trainings after their models were made, each once.
    """

    name = "retrain"
    atomic = False

    def __init__(
        self, topics: PipelineTopics, trainer: Runner[Package], failures: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self._topics = topics
        self._failures = failures
        self._untracked = 0
        self._trainings: KeptRuns[tuple[int, str], Package] = KeptRuns(trainer)
        self._published: set[str] = set()
        self.inputs = (topics.topic("triggers"),)

    def process(self, batch: Chunk) -> Step:
        first = batch.slice(0, 1)
        damaged = self._topics.damaged_control(first)
        if damaged:
            return Step(self._dead(first, "undecodable", damaged[0][1]), consumed=1)
        offset, trigger = next(self._topics.control_records(first))
        assert isinstance(trigger, TrainingTrigger)
        key = (offset, trigger.trigger_id)
        if not self._trainings.working(key):
            log.info("training for trigger %s (%s: %s)", trigger.trigger_id, trigger.reason, trigger.detail)
        try:
            package = self._trainings.result(key, {"trigger": trigger.model_dump(mode="json")})
        except Unavailable as e:
            raise Unavailable(f"training of trigger {trigger.trigger_id}: {e}") from None
        except ChildError as e:
            log.warning("trigger %s gave no model: %s", trigger.trigger_id, e)
            code = "training_refused" if e.kind == "TrainingRefused" else "training_failed"
            return Step(self._dead(first, code, str(e), e.trace), consumed=1)
        if package is None:
            return Step(consumed=0)
        self._trainings.warm()
        return Step(self._publication(trigger, package), consumed=1)

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._trainings.assigned(holds=bool(tps), still=self._not_done)
        if tps:
            # Past any transaction still open: one of ours may have just gone through.
            self._published = set(published(self._topics, settled=True))
            self._topics.prepare("model_chunks", "models", "dead")
            self._trainings.warm()

    def tick(self) -> Step:
        for failure in self._failures():
            self._untracked += 1
            log.warning("a training was not tracked, its model is published all the same: %s", failure)
        return IDLE

    def figures(self) -> list[Figure]:
        doc = "Trainings that made a model and could not be logged to MLflow."
        return [Figure("tracking_failures", doc, {}, self._untracked, counts=True)]

    def close(self) -> None:
        self._trainings.close()
        self.tick()

    def _not_done(self, key: tuple[int, str]) -> bool:
        """Whether a trigger is yet to be done: nobody has committed past it."""
        committed = self._topics.log.committed(f"{self._topics.pipeline.name}.{self.name}")
        return key[0] >= committed.get(self._topics.tp("triggers"), 0)

    def _publication(self, trigger: TrainingTrigger, package: Package) -> list[Output]:
        """The model's records; of one that was published before, the word that this trigger gave it again."""
        model_id = package.manifest.model_id
        before = published(self._topics).get(model_id)
        if before is None and model_id not in self._published:
            self._published.add(model_id)
            log.info("publishing model %s (%s)", model_id[:12], package.manifest.algorithm)
            if left_out := int(package.manifest.metrics.get(LEFT_OUT, 0)):
                log.warning("%d of %d examples left out: %s", left_out, package.manifest.lineage.records, UNUSABLE)
            return publication(self._topics, package)
        by = f", of trigger {before.manifest.lineage.trigger_id}" if before else ""
        log.info("trigger %s gave the same model as already published: %s%s", trigger.trigger_id, model_id[:12], by)
        again = TrainedAgain(
            model_id=model_id,
            trigger_id=trigger.trigger_id,
            trigger_reason=trigger.reason,
            requester=trigger.requester,
        )
        return [self._topics.control("models", [again], [f"{model_id}{AGAIN.decode()}{trigger.trigger_id}"])]

    def _dead(self, chunk: Chunk, code: str, reason: str, trace: str | None = None) -> list[Output]:
        return self._topics.dead(self.name, chunk, [(0, code, reason)], trace)
