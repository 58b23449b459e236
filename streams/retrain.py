"""triggers -> models: each trigger's training runs in a child; its offset commits with the model it publishes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from headrace.errors import Unavailable
from headrace.jobs.child import ChildError, ChildJob, JobStarter
from headrace.jobs.train.job import result, work
from headrace.kafka.log import Chunk, Output, TopicPartition
from headrace.models.package.package import Package
from headrace.models.package.topic import publication
from headrace.schema.records import TrainingTrigger
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.processor import Stateless, Step

log = logging.getLogger("headrace.retrain")
NEEDED = ("headrace.jobs.train.job", "headrace.jobs.train.fit", "headrace.jobs.train.dataset", "sklearn.metrics")
"""What a training imports."""


class Training(Protocol):
    """A training under way."""

    def package(self) -> Package | None:
        """The result, or None while it runs. Raises ChildError when it failed."""

    def over(self) -> bool:
        """Whether the child has ended; it is let go of then."""

    def close(self) -> None: ...


class Trainer(Protocol):
    """Starts trainings."""

    def warm(self) -> None:
        """Make ready for the next one."""

    def start(self, trigger: TrainingTrigger) -> Training: ...


class ChildTraining:
    """A training in a child process."""

    def __init__(self, job: ChildJob) -> None:
        self._job = job

    def package(self) -> Package | None:
        self._job.done()
        return result(Path(self._job.folder))

    def over(self) -> bool:
        if self._job.running():
            return False
        self._job.close()
        return True

    def close(self) -> None:
        self._job.close()


class ChildTrainer:
    """Trains in child processes.

    Args:
        spec: what a child needs to connect as its parent does.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._starter = JobStarter(work, *NEEDED)

    def warm(self) -> None:
        self._starter.warm()

    def start(self, trigger: TrainingTrigger) -> Training:
        return ChildTraining(self._starter.start({**self._spec, "trigger": trigger.model_dump(mode="json")}))


class Retrain(Stateless):
    """One trigger at a time. A crash trains again; a model is never published twice for one trigger.

    Args:
        topics: the pipeline's topics.
        trainer: trains.
    """

    name = "retrain"
    atomic = False

    def __init__(self, topics: PipelineTopics, trainer: Trainer) -> None:
        self._topics = topics
        self._trainer = trainer
        self._running: tuple[str, Training] | None = None
        self._finished: list[Training] = []
        self.inputs = (topics.topic("triggers"),)

    def process(self, batch: Chunk) -> Step:
        first = batch.slice(0, 1)
        damaged = self._topics.damaged_control(first)
        if damaged:
            return Step(self._dead(first, "undecodable", damaged[0][1]), consumed=1)
        _, trigger = next(self._topics.control_records(first))
        assert isinstance(trigger, TrainingTrigger)
        if self._running is None or self._running[0] != trigger.trigger_id:
            self._end()
            self._tidy()
            log.info("training for trigger %s (%s: %s)", trigger.trigger_id, trigger.reason, trigger.detail)
            self._running = (trigger.trigger_id, self._trainer.start(trigger))
        try:
            package = self._running[1].package()
        except ChildError as e:
            self._end()
            if e.kind == "Unavailable":
                raise Unavailable(f"training of trigger {trigger.trigger_id}: {e}") from None
            log.warning("trigger %s gave no model: %s", trigger.trigger_id, e)
            code = "training_refused" if e.kind == "TrainingRefused" else "training_failed"
            return Step(self._dead(first, code, str(e), e.trace), consumed=1)
        if package is None:
            return Step(consumed=0)
        self._finished.append(self._running[1])
        self._running = None
        self._trainer.warm()
        log.info("publishing model %s (%s)", package.manifest.model_id[:12], package.manifest.algorithm)
        return Step([publication(self._topics, package)], consumed=1)

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._end()
        if tps:
            self._topics.prepare("models", "dead")
            self._trainer.warm()

    def close(self) -> None:
        self._end()
        for training in self._finished:
            training.close()

    def _end(self) -> None:
        if self._running is not None:
            self._running[1].close()
            self._running = None

    def _tidy(self) -> None:
        """Let go of trainings whose child has also finished what comes after the model (MLflow)."""
        self._finished = [t for t in self._finished if not t.over()]

    def _dead(self, chunk: Chunk, code: str, reason: str, trace: str | None = None) -> list[Output]:
        return self._topics.dead(self.name, chunk, [(0, code, reason)], trace)
