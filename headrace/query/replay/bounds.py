"""Which features records are replayed: from a time or offsets, to a time or offsets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from headrace.errors import ConfigError
from headrace.kafka.span import Span
from headrace.topics.pipeline_topics import PipelineTopics

Edge = datetime | dict[int, int] | None
"""A time (when the record came to the log), offsets by partition, or no limit."""


@dataclass(frozen=True)
class Bounds:
    """From ``start`` to before ``stop``. Partitions that offsets do not name are left out."""

    start: Edge = None
    stop: Edge = None


EVERYTHING = Bounds()


def spans(topics: PipelineTopics, bounds: Bounds) -> dict[int, Span]:
    """The offsets to replay of each partition: within the bounds, of what is on the log, what infer has committed.

    Raises:
        ConfigError: the bounds name a partition or offset there is not, or end before they begin.
    """
    name = topics.topic("features")
    committed = topics.log.committed(f"{topics.pipeline.name}.infer")
    there = topics.log.bounds(name)
    starts = _at(topics, bounds.start, {p: first for p, (first, _) in there.items()})
    stops = _at(topics, bounds.stop, {p: end for p, (_, end) in there.items()})
    found = {}
    for p, (first, end) in there.items():
        if p not in starts or p not in stops:
            continue
        if isinstance(bounds.start, dict) and starts[p] < first:
            raise ConfigError(f"{name}[{p}] begins at offset {first}: what stood at {starts[p]} has been dropped")
        if isinstance(bounds.stop, dict) and stops[p] > end:
            raise ConfigError(f"{name}[{p}] ends at offset {end}, before {stops[p]}")
        # A time may lie past the last stable offset, while a transaction is open: there is nothing to replay then.
        if isinstance(bounds.start, dict) and starts[p] > stops[p]:
            raise ConfigError(f"{name}[{p}]: it cannot be replayed from {starts[p]} to before {stops[p]}")
        stop = min(stops[p], committed.get(topics.tp("features", p), 0))
        found[p] = Span(min(starts[p], stop), stop)
    return found


def _at(topics: PipelineTopics, edge: Edge, otherwise: dict[int, int]) -> dict[int, int]:
    match edge:
        case None:
            return otherwise
        case datetime():
            return topics.log.offsets_at(topics.topic("features"), edge)
    if unknown := sorted(edge.keys() - otherwise.keys()):
        raise ConfigError(f"{topics.topic('features')} has {len(otherwise)} partitions: there is no {unknown[0]}")
    return edge
