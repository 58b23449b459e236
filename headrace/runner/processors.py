"""The table of processors: what each does, reads and writes, and how it is made. All else that names one follows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.config import ADMIN, Settings
from headrace.errors import ConfigError
from headrace.governance.losses import accepted_losses, as_missing
from headrace.kafka.log import Log
from headrace.state.budget import Budget
from headrace.topics.parties import OUTSIDE, Party
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.loop import ExactlyOnceLoop, LoopConfig
from headrace.worker.processor import Processor

HELD = "workers"
"""Folder in the state folder for what workers hold on disk."""

if TYPE_CHECKING:
    from headrace.consumers.forward.route import Route
    from headrace.consumers.forward.shape import Shape


@dataclass(frozen=True)
class WorkerContext:
    """What a processor is made from.

    Attributes:
        topics: its pipeline's topics.
        log: the cluster.
        settings: how a child process reaches both.
        reference: how a child process finds the pipeline.
        worker: name of this worker.
    """

    topics: PipelineTopics
    log: Log
    settings: Settings
    reference: str
    worker: str

    def group(self, processor: str) -> str:
        """Consumer group of a processor of this pipeline."""
        return f"{self.topics.pipeline.name}.{processor}"

    def budget(self, processor: str) -> Budget:
        """Where this worker keeps what it holds as this processor."""
        place = self.settings.worker_state
        folder = place.folder or self.settings.state / HELD
        return Budget(place.memory, folder.absolute(), f"{self.group(processor)}.{self.worker}")


@dataclass(frozen=True, kw_only=True)
class ProcessorSpec(Party):
    """One row of the table.

    Attributes:
        does: one line of help.
        make: makes the processor; imports what that needs, and nothing is imported before.
        extra: the extra of the distribution that it needs.
        scales: whether several workers may share its partitions.
        always: whether every pipeline needs it (``headrace run all`` starts those).
    """

    does: str
    make: Callable[[WorkerContext], Processor]
    extra: str = ""
    scales: bool = True
    always: bool = True


def _preprocess(context: WorkerContext) -> Processor:
    from headrace.streams.preprocess import Preprocess

    return Preprocess(context.topics)


def _infer(context: WorkerContext) -> Processor:
    from headrace.models.package.signing import Trust
    from headrace.streams.infer import Infer

    return Infer(context.topics, context.log, context.worker, Trust.of(context.settings))


def _join(context: WorkerContext) -> Processor:
    from headrace.streams.join.processor import Join

    return Join(context.topics, context.budget("join"))


def _retrain(context: WorkerContext) -> Processor:
    from headrace.jobs.inside import spec_of
    from headrace.streams.retrain import Retrain, training_in_children

    trainer = training_in_children(spec_of(context.reference, context.settings))
    return Retrain(context.topics, trainer, trainer.failures)


def _govern(context: WorkerContext) -> Processor:
    from headrace.jobs.inside import spec_of
    from headrace.streams.govern import Govern, gates_in_children

    gates = gates_in_children(spec_of(context.reference, context.settings))
    return Govern(context.topics, gates, lambda: context.log.members(context.group("infer")))


def _monitor(context: WorkerContext) -> Processor:
    from headrace.streams.monitor.processor import Monitor

    return Monitor(context.topics)


def _forward(context: WorkerContext) -> Processor:
    from headrace.consumers.forward.processor import Forward
    from headrace.consumers.forward.shape import shapes

    found = shapes(context.topics.pipeline, context.settings.forward_secret)
    return Forward(context.topics, found, _route(context.settings, found))


def _route(settings: Settings, found: dict[str, Shape]) -> Route:
    if settings.forward_to == "fluentd":
        from headrace.consumers.forward.fluentd import FluentdRoute

        return FluentdRoute(settings.fluentd)
    from headrace.consumers.forward.bulk import SearchRoute
    from headrace.consumers.forward.engine import Engine

    return SearchRoute(Engine(settings.search), list(found.values()))


PROCESSORS: dict[str, ProcessorSpec] = {
    spec.name: spec
    for spec in (
        ProcessorSpec(
            name="preprocess",
            does="raw events -> features and labels",
            reads=("raw",),
            writes=("features", "labels", "dead"),
            make=_preprocess,
        ),
        ProcessorSpec(
            name="infer",
            does="features -> predictions, by the model in force",
            reads=("features", "models", "model_chunks", "decisions"),
            writes=("predictions", "workers", "dead"),
            make=_infer,
        ),
        ProcessorSpec(
            name="join",
            does="features, labels, predictions -> examples and outcomes",
            reads=("features", "labels", "predictions"),
            writes=("examples", "outcomes", "dead"),
            make=_join,
        ),
        ProcessorSpec(
            name="retrain",
            does="triggers -> models, trained on examples",
            reads=("triggers", "examples", "models"),
            writes=("model_chunks", "models", "dead"),
            make=_retrain,
            extra="train",
        ),
        ProcessorSpec(
            name="govern",
            does="models, decisions -> gates run, policies put in force",
            reads=("models", "model_chunks", "decisions", "workers", "contracts", "examples"),
            writes=("decisions", "features", "dead"),
            make=_govern,
            extra="train",
            scales=False,
        ),
        ProcessorSpec(
            name="monitor",
            does="predictions, outcomes -> metrics, drift, triggers",
            reads=(
                "features",
                "predictions",
                "outcomes",
                "labels",
                "examples",
                "triggers",
                "models",
                "decisions",
                "metrics",
            ),
            writes=("metrics", "triggers", "dead"),
            make=_monitor,
            extra="train",
            scales=False,
        ),
        ProcessorSpec(
            name="forward",
            does="predictions, outcomes, metrics, decisions, dead letters -> a search engine",
            reads=("features", "predictions", "outcomes", "metrics", "decisions", "dead"),
            writes=("dead",),
            make=_forward,
            extra="forward",
            always=False,
        ),
    )
}
PARTIES: tuple[Party, ...] = (*PROCESSORS.values(), *OUTSIDE)
"""Everybody who uses a pipeline's topics."""
PRINCIPALS = (ADMIN, *(party.name for party in PARTIES))
"""Who gets credentials on a stack that authenticates."""


def processor_spec(name: str) -> ProcessorSpec:
    """The processor of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PROCESSORS:
        raise ConfigError(f"no processor {name!r}; there are: {', '.join(PROCESSORS)}")
    return PROCESSORS[name]


def build(
    name: str, context: WorkerContext, commit_interval: float = 0.1, notes: Path | None = None
) -> ExactlyOnceLoop:
    """The exactly-once loop of a processor; ``notes`` as :class:`ExactlyOnceLoop` has it.

    Raises:
        ConfigError: an extra of the distribution is missing; the message names it.
    """
    spec = processor_spec(name)
    try:
        processor = spec.make(context)
    except ModuleNotFoundError as e:
        if not spec.extra:
            raise
        raise ConfigError(
            f"processor {name} needs the package {e.name}: pip install 'headrace[{spec.extra}]'"
        ) from None
    config = LoopConfig(
        group=context.group(name),
        worker=context.worker,
        commit_interval=commit_interval,
        failure_limit=context.topics.pipeline.failure_limit,
    )
    return ExactlyOnceLoop(
        context.log,
        processor,
        config,
        lambda chunk, trace: context.topics.failure(name, chunk, trace),
        lambda: map(as_missing, accepted_losses(context.topics, context.group(name))),
        notes,
    )
