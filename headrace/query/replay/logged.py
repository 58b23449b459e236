"""The predictions of a partition as they stand on the log, read beside the features they were made from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headrace.codec.column import BytesColumn
from headrace.codec.topic import Decoded
from headrace.kafka.log import Chunk, TopicPartition, read_range
from headrace.query.replay.compare import same_bytes
from headrace.topics.pipeline_topics import PipelineTopics

CHUNK = 20_000
_NEAR = 20_000
"""Offsets that are read one after the other rather than searched."""

Offsets = np.ndarray[tuple[int], np.dtype[np.int64]]
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


class LoggedPredictions:
    """Predictions in the order of the log, handed out by the offset of their features record.

    Args:
        topics: the pipeline's topics.
        partition: its number.
        start: the first features offset that is of interest.
    """

    def __init__(self, topics: PipelineTopics, partition: int, start: int) -> None:
        self._topics = topics
        self._tp = topics.tp("predictions", partition)
        self.first, self._end = topics.log.bounds(self._tp.topic)[partition]
        begin = _search(topics, self._tp, (self.first, self._end), start)
        self._chunks = read_range(topics.log, {self._tp: (begin, self._end)}, CHUNK)
        self._held: Chunk | None = None
        self._named: Offsets | None = None
        self.oldest: int | None = None
        """Features offset of the first prediction read; None where there is none."""
        if self._next() and (first := int(self._inputs()[1][0])) >= 0:
            self.oldest = first
        self.until(start)

    def takes(self, keys: BytesColumn, values: BytesColumn) -> bool:
        """Whether the next predictions are these, byte for byte; they are then handed out. Nothing is decoded."""
        while self._held is None or len(self._held) < len(values):
            if not self._next():
                return False
        mine = self._held.slice(0, len(values))
        if not (same_bytes(values, mine.values) and same_bytes(keys, mine.keys)):
            return False
        more = len(self._held) > len(values)
        self._held = self._held.slice(len(values)) if more else None
        self._named = self._named[len(values) :] if more and self._named is not None else None
        return True

    def until(self, stop: int) -> Chunk | None:
        """The predictions not yet handed out whose features stand before ``stop``, or None where there is none.

        One that cannot be decoded goes with its neighbours; one out of order waits for its turn, or comes late.
        """
        parts: list[Chunk] = []
        while self._held is not None or self._next():
            held, named = self._inputs()
            due = named < stop
            if due.any():
                parts.append(_only(held, due))
                self._held = None if due.all() else _only(held, ~due)
                self._named = None if due.all() else named[~due]
            # What follows may be due too.
            if not due[-1] or not self._next():
                break
        if not parts:
            return None
        found = parts[0]
        for part in parts[1:]:
            found = found.followed_by(part)
        return found

    def late(self, start: int, stop: int) -> Iterator[Chunk]:
        """The predictions of features from ``start`` to before ``stop`` that come after those of later records.

        Reads on to the end of the partition.
        """
        while self._held is not None or self._next():
            held, named = self._inputs()
            self._held = self._named = None
            mine = (named >= start) & (named < stop)
            if mine.any():
                yield _only(held, mine)

    def _inputs(self) -> tuple[Chunk, Offsets]:
        """What is held, and the features offset that each of it names."""
        assert self._held is not None
        if self._named is None:
            self._named = inputs(self._topics.codec("predictions").decode(self._held.values), len(self._held))
        return self._held, self._named

    def _next(self) -> bool:
        """Read on, behind what is still held; false where there is no more."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._held = chunk if self._held is None else self._held.followed_by(chunk)
        self._named = None
        return True


def _only(chunk: Chunk, wanted: Mask) -> Chunk:
    """The records at places that are wanted."""
    places = np.flatnonzero(wanted)
    if places[-1] - places[0] + 1 == len(places):
        return chunk.slice(int(places[0]), int(places[-1]) + 1)
    return chunk.at(places)


def inputs(decoded: Decoded, count: int) -> Offsets:
    """The features offset that each of ``count`` predictions names; one that cannot be decoded takes that of the one
    before it, or after it where there is none; -1 where no one can be."""
    places = decoded.places()
    if len(places) == 0:
        return np.full(count, -1, dtype=np.int64)
    before = np.searchsorted(places, np.arange(count), side="right") - 1
    return decoded.integers("offset")[np.maximum(before, 0)]


def _search(topics: PipelineTopics, tp: TopicPartition, bounds: tuple[int, int], wanted: int) -> int:
    """An offset before which no prediction is about the features at ``wanted`` or later. Predictions stand in the order
    of their features."""
    low, high = bounds
    while high - low > _NEAR:
        middle = (low + high) // 2
        seen = next(_inputs_from(topics, tp, middle, high), None)
        if seen is not None and seen < wanted:
            low = middle
        else:
            high = middle
    return low


def _inputs_from(topics: PipelineTopics, tp: TopicPartition, start: int, stop: int) -> Iterator[int]:
    for chunk in read_range(topics.log, {tp: (start, stop)}, 100):
        found = inputs(topics.codec("predictions").decode(chunk.values), len(chunk))
        yield from found[found >= 0].tolist()
