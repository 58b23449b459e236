"""Every processor by name, put together for a pipeline on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.config import Settings
from headrace.log.base import Log
from headrace.log.loop import ExactlyOnceLoop, LoopConfig
from headrace.log.pipeline_log import PipelineLog
from headrace.log.processor import Processor

if TYPE_CHECKING:
    from streams.forward.route import Route
    from streams.forward.shape import Shape


@dataclass(frozen=True)
class Place:
    """Where a processor runs: its pipeline's topics, the cluster, how children find both, its worker name."""

    topics: PipelineLog
    log: Log
    settings: Settings
    reference: str
    worker: str

    def group(self, processor: str) -> str:
        """Consumer group of a processor of this pipeline."""
        return f"{self.topics.pipeline.name}.{processor}"


def _preprocess(place: Place) -> Processor:
    from streams.preprocess import Preprocess

    return Preprocess(place.topics)


def _infer(place: Place) -> Processor:
    from headrace.models.signing import Trust
    from streams.infer import Infer

    return Infer(place.topics, place.log, place.worker, Trust.of(place.settings))


def _join(place: Place) -> Processor:
    from streams.join import Join

    return Join(place.topics)


def _retrain(place: Place) -> Processor:
    from streams.job import spec_of
    from streams.retrain.processor import ChildTrainer, Retrain

    return Retrain(place.topics, ChildTrainer(spec_of(place.reference, place.settings)))


def _govern(place: Place) -> Processor:
    from streams.govern.processor import ChildGateRunner, Govern
    from streams.job import spec_of

    gates = ChildGateRunner(spec_of(place.reference, place.settings))
    return Govern(place.topics, gates, lambda: place.log.members(place.group("infer")))


def _monitor(place: Place) -> Processor:
    from streams.monitor.processor import Monitor

    return Monitor(place.topics)


def _forward(place: Place) -> Processor:
    from streams.forward.processor import Forward
    from streams.forward.shape import shapes

    found = shapes(place.topics.pipeline, place.settings.forward_secret)
    return Forward(place.topics, found, _route(place.settings, found))


def _route(settings: Settings, found: dict[str, Shape]) -> Route:
    if settings.forward_to == "fluentd":
        from streams.forward.fluentd import FluentdRoute

        return FluentdRoute(settings.fluentd)
    from streams.forward.bulk import SearchRoute
    from streams.forward.engine import Engine

    return SearchRoute(Engine(settings.search), list(found.values()))


PROCESSORS: dict[str, Callable[[Place], Processor]] = {
    "preprocess": _preprocess,
    "infer": _infer,
    "join": _join,
    "retrain": _retrain,
    "govern": _govern,
    "monitor": _monitor,
    "forward": _forward,
}


def build(name: str, place: Place, commit_interval: float = 0.1) -> ExactlyOnceLoop:
    """The exactly-once loop of a processor."""
    processor = PROCESSORS[name](place)
    config = LoopConfig(
        group=place.group(name),
        worker=place.worker,
        commit_interval=commit_interval,
        failure_limit=place.topics.pipeline.failure_limit,
    )
    return ExactlyOnceLoop(place.log, processor, config, lambda chunk, trace: place.topics.failure(name, chunk, trace))
