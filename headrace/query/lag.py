"""Records still to come for a group: a small gap of offsets is read, for transaction markers in it are no records."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from headrace.kafka.log import Log, TopicPartition
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS

NEAR = 1_000
"""Offsets of the largest gap whose records are counted; a larger one is told in offsets."""
READ_S = 2.0
"""Seconds to read the gaps, at most: those that are not read by then are told in offsets."""
POLL_S = 0.05
Gap = tuple[TopicPartition, int, int]
"""A partition, a committed offset, and the end of the log."""


class Lag:
    """Counts what is still to come; what has not changed since is not read again.

    Args:
        log: the cluster.
        near: offsets of the largest gap whose records are counted.
        patience_s: seconds to read the gaps, at most.
    """

    def __init__(self, log: Log, near: int = NEAR, patience_s: float = READ_S) -> None:
        self._log = log
        self._near = near
        self._patience_s = patience_s
        self._known: dict[Gap, int] = {}

    def of(self, gaps: Iterable[Gap]) -> dict[Gap, int]:
        """Each gap's committed records, and offsets of transactions that are open. A gap of ``near`` offsets or
        more is its size.

        Raises:
            Unavailable: Kafka is away.
        """
        wanted = set(gaps)
        small = {gap for gap in wanted if 0 < gap[2] - gap[1] < self._near}
        self._known = {gap: count for gap, count in self._known.items() if gap in small}
        if unknown := small - self._known.keys():
            self._known |= self._counted(unknown)
        return {gap: self._known.get(gap, max(0, gap[2] - gap[1])) for gap in wanted}

    def counted(self, gap: Gap) -> bool:
        """Whether the records of a gap that was asked for last were counted."""
        return gap in self._known or gap[2] <= gap[1]

    def _counted(self, gaps: set[Gap]) -> dict[Gap, int]:
        """The gaps that could be read in time, counted."""
        starts: dict[TopicPartition, int] = {}
        for tp, start, _ in gaps:
            starts[tp] = min(start, starts.get(tp, start))
        bounds = {topic: self._log.bounds(topic) for topic in {tp.topic for tp in starts}}
        stable = {tp: bounds[tp.topic][tp.partition][1] for tp in starts}
        offsets, read = self._read(starts, stable)
        counts = {}
        for tp, start, end in gaps:
            if tp not in read:
                continue
            stop = min(end, stable[tp])
            records = np.concatenate([np.zeros(0, np.int64), *offsets[tp]])
            committed = int(((records >= start) & (records < stop)).sum())
            counts[tp, start, end] = committed + end - max(start, stop)
        return counts

    def _read(
        self, starts: Mapping[TopicPartition, int], stops: Mapping[TopicPartition, int]
    ) -> tuple[dict[TopicPartition, list[np.ndarray[tuple[int], np.dtype[np.int64]]]], set[TopicPartition]]:
        """Offsets of the committed records from each start on, and the partitions that were read to their stops."""
        offsets: dict[TopicPartition, list[np.ndarray[tuple[int], np.dtype[np.int64]]]] = defaultdict(list)
        waiting = {tp for tp, start in starts.items() if start < stops[tp]}
        read = set(starts) - waiting
        if not waiting:
            return offsets, read
        reader = self._log.reader({tp: starts[tp] for tp in waiting})
        deadline = time.monotonic() + self._patience_s
        try:
            while waiting and time.monotonic() < deadline:
                for chunk in reader.poll(len(waiting) * NEAR, POLL_S):
                    offsets[chunk.tp].append(chunk.offsets)
                done = {tp for tp in waiting if reader.reached(tp) >= stops[tp]}
                waiting, read = waiting - done, read | done
        finally:
            reader.close()
        return offsets, read


@dataclass(frozen=True)
class GroupLag:
    """What one processor's group has still to come.

    Attributes:
        records: still to come, all partitions together; offsets of those that were not counted.
        offsets: between what is committed and the ends, markers of transactions and aborted records among them.
        counted: whether every partition's records were counted.
    """

    processor: str
    records: int
    offsets: int
    counted: bool


FAR, PATIENCE_S = 100_000, 20.0
"""Offsets of the largest gap that is counted where one asks once, and seconds to count all of them."""


def group_lags(topics: PipelineTopics, processors: Iterable[str]) -> list[GroupLag]:
    """What each processor's group has still to come; processors that never ran are left out.

    Raises:
        ConfigError: the pipeline has no topics on this cluster.
        Unavailable: Kafka is away.
    """
    ends = {topics.topic(name): topics.log.high_watermarks(topics.topic(name)) for name in TOPICS}
    gaps: dict[str, list[Gap]] = {}
    for processor in processors:
        committed = topics.log.committed(f"{topics.pipeline.name}.{processor}")
        if committed:
            gaps[processor] = [(tp, at, ends[tp.topic][tp.partition]) for tp, at in committed.items()]
    lag = Lag(topics.log, FAR, PATIENCE_S)
    found = lag.of(gap for of_one in gaps.values() for gap in of_one)
    return [
        GroupLag(
            processor,
            sum(found[gap] for gap in of_one),
            sum(max(0, end - at) for _, at, end in of_one),
            all(map(lag.counted, of_one)),
        )
        for processor, of_one in gaps.items()
    ]
