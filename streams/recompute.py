"""A processor run again over what it has consumed, its outputs given and not written: what an audit compares with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from headrace.log.attempt import attempt
from headrace.log.base import Chunk, Output, read_range
from headrace.log.pipeline_log import PipelineLog
from headrace.log.processor import Processor, Step
from streams.join import Join
from streams.preprocess import Preprocess

_PURE: dict[str, Callable[[PipelineLog], Processor]] = {"preprocess": Preprocess, "join": Join}
"""Processors whose outputs depend on the records they read and on nothing else."""
CHUNK = 20_000


def recompute(
    topics: PipelineLog,
    processor: str,
    partition: int,
    stops: Mapping[str, int],
    advanced: Callable[[int], None] = lambda _: None,
) -> Iterator[Output]:
    """What ``processor`` (preprocess or join) gives for the records of one partition before ``stops``.

    Several topics are read in step, each as far as the others by its share, so that what waits for a partner stays
    little; which pairs there are does not depend on it.
    """
    runs = _PURE[processor](topics)
    runs.assigned([topics.tp(name, partition) for name in stops])
    for chunk in _in_step(topics, partition, stops):
        advanced(len(chunk))
        steps: list[Step] = []

        def failed(one: Chunk, trace: str, steps: list[Step] = steps) -> None:
            steps.append(Step([topics.failure(processor, one, trace)]))

        def went_through(part: Chunk, step: Step, steps: list[Step] = steps) -> None:
            steps.append(step)

        attempt(runs, chunk, went_through, failed)
        for step in steps:
            yield from step.outputs


def _in_step(topics: PipelineLog, partition: int, stops: Mapping[str, int]) -> Iterator[Chunk]:
    reading: dict[str, Iterator[Chunk]] = {}
    share = {}
    for name, stop in stops.items():
        reading[name] = read_range(topics.log, {topics.tp(name, partition): (0, stop)}, CHUNK)
        share[name] = 0.0
    while share:
        name = min(share, key=lambda n: share[n])
        chunk = next(reading[name], None)
        if chunk is None:
            del share[name]
        else:
            share[name] = chunk.next_offset / max(1, stops[name])
            yield chunk
