"""The predictions that a partition's features give, made again by the code that the worker runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from headrace.codec.column import BytesColumn
from headrace.errors import ModelRejected
from headrace.governance.policy import PolicyTimeline
from headrace.kafka.log import Chunk, read_range
from headrace.kafka.span import Span
from headrace.models.score.scoring import Scoring, segments
from headrace.query.replay.scorers import Scorers
from headrace.topics.pipeline_topics import PipelineTopics

CHUNK = 20_000
"""Features records at a time."""


class Rescored(NamedTuple):
    """What the features records of one stretch of a partition must have given.

    Attributes:
        start: their first offset.
        stop: the first offset after them.
        records: how many features records.
        keys: of the predictions, in the order of the log.
        values: of the predictions.
        refused: why nothing can be said of them: the model that is missing; empty where all is well.
    """

    start: int
    stop: int
    records: int
    keys: BytesColumn
    values: BytesColumn
    refused: str = ""


def rescored(
    topics: PipelineTopics,
    scorers: Scorers,
    timeline: PolicyTimeline,
    partition: int,
    span: Span,
    advanced: Callable[[int], None] = lambda _: None,
) -> Iterator[Rescored]:
    """Score the features records of a span again, each under the policy in force at its offset."""
    for chunk in read_range(topics.log, {topics.tp("features", partition): span}, CHUNK):
        yield from _of_chunk(topics, scorers, timeline, chunk)
        advanced(len(chunk))


def _of_chunk(topics: PipelineTopics, scorers: Scorers, timeline: PolicyTimeline, chunk: Chunk) -> Iterator[Rescored]:
    decoded = topics.codec("features").decode(chunk.values)
    scoring = Scoring(chunk, decoded, scorers.__getitem__, topics.codec("predictions"))
    places = decoded.places()
    for segment in segments(chunk, decoded, timeline):
        start = int(chunk.offsets[segment.start])
        stop = int(chunk.offsets[segment.stop]) if segment.stop < len(chunk) else chunk.next_offset
        records = int(((places >= segment.start) & (places < segment.stop)).sum())
        nothing = Rescored(start, stop, records, BytesColumn.nulls(0), BytesColumn.nulls(0))
        if segment.policy is None or segment.passed_over or not records:
            yield nothing
            continue
        try:
            found = scoring.between(segment.start, segment.stop, segment.policy)
        except ModelRejected as e:
            yield nothing._replace(refused=str(e))
            continue
        yield nothing._replace(keys=found.keys, values=found.values)
