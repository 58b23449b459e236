"""A processor run again over what it has consumed, its outputs given and not written: what an audit compares with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import polars as pl

from headrace.errors import RecordsLost
from headrace.kafka.log import Chunk, Output, read_range
from headrace.streams.ahead import ahead
from headrace.streams.join.processor import Join
from headrace.streams.preprocess import Preprocess
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.retention import state_needs
from headrace.worker.bisecting import process_bisecting
from headrace.worker.processor import Processor, Step

_PURE: dict[str, Callable[[PipelineTopics], Processor]] = {"preprocess": Preprocess, "join": Join}
"""Processors whose outputs depend on the records they read and on nothing else."""
CHUNK = 20_000


def recompute(
    topics: PipelineTopics,
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

        process_bisecting(runs, chunk, went_through, failed)
        for step in steps:
            yield from step.outputs


def _in_step(topics: PipelineTopics, partition: int, stops: Mapping[str, int]) -> Iterator[Chunk]:
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


def features_of(topics: PipelineTopics, partition: int, offset: int) -> dict[str, Any] | None:
    """The features that the raw record at an offset gives, made again from it and the events it may look back at.

    Returns:
        The features record as a row; None where the record gives none.

    Raises:
        RecordsLost: some of those events are no longer on the log.
    """
    runs = Preprocess(topics)
    tp = topics.tp("raw", partition)
    runs.assigned([tp])
    found = None
    for chunk in read_range(topics.log, {tp: (_history(topics, partition, offset), offset + 1)}, CHUNK):

        def went_through(part: Chunk, step: Step) -> None:
            nonlocal found
            for output in step.outputs:
                if output.tp.topic == topics.topic("features") and len(output):
                    rows = topics.codec("features").decode(output.values).frame().filter(pl.col("raw_offset") == offset)
                    found = rows.row(0, named=True) if rows.height else found

        process_bisecting(runs, chunk, went_through, lambda one, trace: None)
    return found


_BACK = 5_000
"""Raw events that are looked at in one step back."""


def _history(topics: PipelineTopics, partition: int, offset: int) -> int:
    """Offset from which raw events must be read for the features at ``offset``: all of the part before it is older than
    the horizon, and than what lateness lets in.

    Raises:
        RecordsLost: retention has taken some of them.
    """
    p, tp = topics.pipeline, topics.tp("raw", partition)
    first = topics.log.bounds(tp.topic)[partition][0]
    reach = state_needs(p)["raw"] + p.lateness
    newest: datetime | None = None
    stop = offset + 1
    while stop > first:
        start = max(first, stop - _BACK)
        times = [_plausible(topics, c) for c in read_range(topics.log, {tp: (start, stop)})]
        latest = pl.concat(times).max() if times else None
        if isinstance(latest, datetime):
            newest = newest or latest
            if latest < newest - reach:
                return start
        stop = start
    if first:
        raise RecordsLost(f"{tp} begins at offset {first}: events that these features look back at may be gone")
    return first


def _plausible(topics: PipelineTopics, chunk: Chunk) -> pl.Series:
    """The event times of raw records, but for those that preprocess turns away."""
    p, decoded = topics.pipeline, topics.codec("raw").decode(chunk.values)
    times = decoded.frame(names=[p.event_time])[p.event_time]
    odd = pl.Series(ahead(chunk, decoded.places(), times, p.clock_ahead), dtype=pl.Boolean)
    return times.filter(times.is_between(*p.times) & ~odd)
