"""Predictions and outcomes name the features record they were made from: whether that has been read already."""

from __future__ import annotations

from headrace.codec.topic import Decoded
from headrace.kafka.log import Chunk
from headrace.topics.pipeline_topics import PipelineTopics


def ready(topics: PipelineTopics, batch: Chunk, decoded: Decoded, field: str, reached: int) -> int:
    """How many records from the start of a batch have no features still to come.

    Args:
        topics: the pipeline's topics.
        batch: records of one partition, and ``decoded`` the same.
        field: names the features record's offset.
        reached: offset up to which the partition's features have been read.
    """
    scored = decoded.integers(field)
    ahead = scored >= reached
    if not ahead.any():
        return len(batch)
    # What the log no longer holds, or never held, is not waited for.
    first, end = topics.log.bounds(topics.topic("features"))[batch.tp.partition]
    waits = ahead & (scored >= first) & (scored < end)
    return int(decoded.places()[waits.argmax()]) if waits.any() else len(batch)
