"""``headrace verify``: every prediction of a range made again, and compared bit for bit with the log."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from headrace.codec.column import BytesColumn
from headrace.governance.catalog import governance
from headrace.governance.policy import PolicyTimeline
from headrace.kafka.span import Span
from headrace.models.package.signing import Trust
from headrace.models.score.session import runtime, runtime_fingerprint
from headrace.progress import SILENT, Progress
from headrace.query.replay.bounds import EVERYTHING, Bounds, spans
from headrace.query.replay.compare import Compared, Difference, compare
from headrace.query.replay.logged import LoggedPredictions
from headrace.query.replay.rescore import rescored
from headrace.query.replay.scorers import Scorers
from headrace.topics.pipeline_topics import PipelineTopics

LISTED = 1000
"""Differences that are listed; beyond them they are only counted."""


@dataclass
class PartitionResult:
    """What a replay of one partition found.

    Attributes:
        records: features records replayed.
        same: predictions that are the same, bit for bit.
        other_runtime: predictions made under another runtime, within the tolerance.
        unscored: features records whose model cannot be had, and of which nothing can be said.
        past_retention: features records whose predictions are older than what the topic still holds.
        differences: how many predictions differ.
        listed: the first of them.
    """

    span: Span
    records: int = 0
    same: int = 0
    other_runtime: int = 0
    unscored: int = 0
    past_retention: int = 0
    differences: int = 0
    listed: list[Difference] = field(default_factory=list)

    def took(self, records: int, found: Compared) -> None:
        """Count a stretch of so many features records."""
        self.records += records
        self.same += found.same
        self.other_runtime += found.other_runtime
        self.differences += len(found.differences)
        self.listed += found.differences[: max(0, LISTED - len(self.listed))]


@dataclass
class Verification:
    """What a replay found.

    Attributes:
        partitions: by number.
        models: the models that scored.
        refused: model id -> why it cannot be used.
        seconds: how long it took.
    """

    partitions: dict[int, PartitionResult]
    models: list[str]
    refused: dict[str, str]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every prediction was made again, and none differs."""
        return not any(p.differences or p.unscored for p in self.partitions.values())

    def total(self, name: str) -> int:
        """A count of :class:`PartitionResult` over all partitions."""
        return sum(int(getattr(p, name)) for p in self.partitions.values())

    def plain(self, topics: PipelineTopics) -> dict[str, Any]:
        """As JSON takes it."""
        names = ("records", "same", "other_runtime", "unscored", "past_retention", "differences")
        return {
            "ok": self.ok,
            **{name: self.total(name) for name in names},
            "models": self.models,
            "refused": self.refused,
            "runtime": {"fingerprint": runtime_fingerprint(), **runtime()},
            "seconds": round(self.seconds, 3),
            "partitions": {
                p: {"start": r.span.start, "stop": r.span.stop, **{name: getattr(r, name) for name in names}}
                for p, r in self.partitions.items()
            },
            "listed": [
                {"partition": p, **d._asdict(), "topic": topics.topic("predictions")}
                for p, r in self.partitions.items()
                for d in r.listed
            ],
        }


def verify(
    topics: PipelineTopics,
    trust: Trust,
    bounds: Bounds = EVERYTHING,
    progress: Progress = SILENT,
) -> Verification:
    """Score the features that infer has committed again, and compare with predictions. Partitions run side by side.

    Args:
        topics: the pipeline's topics.
        trust: whose models are used.
        bounds: the features records to replay.
        progress: told how far it has come.

    Raises:
        ConfigError: the bounds name a partition or an offset there is not.
        Unavailable: Kafka or the registry is away.
    """
    began = time.monotonic()
    wanted = spans(topics, bounds)
    timeline = governance(topics, settled=True).timeline
    scorers = Scorers(topics, trust)
    topics.codec("features").prepare()
    topics.codec("predictions").prepare()
    progress.begins("scoring again", sum(span.stop - span.start for span in wanted.values()))
    lock = threading.Lock()

    def told(records: int) -> None:
        with lock:
            progress.advanced(records)

    with ThreadPoolExecutor(max(1, min(len(wanted), os.cpu_count() or 1)), thread_name_prefix="replay") as pool:
        waiting = {
            p: pool.submit(verify_partition, topics, scorers, timeline, p, span, told) for p, span in wanted.items()
        }
        found = {p: future.result() for p, future in waiting.items()}
    return Verification(found, scorers.used(), scorers.refused(), time.monotonic() - began)


def verify_partition(
    topics: PipelineTopics,
    scorers: Scorers,
    timeline: PolicyTimeline,
    partition: int,
    span: Span,
    advanced: Callable[[int], None] = lambda _: None,
) -> PartitionResult:
    """Replay the features records of one span."""
    result = PartitionResult(span)
    standing = LoggedPredictions(topics, partition, span.start)
    begin = span.start
    if standing.first > 0:  # retention has taken the first predictions
        begin = max(begin, span.stop if standing.oldest is None else standing.oldest)
    codec = topics.codec("predictions")
    for again in rescored(topics, scorers, timeline, partition, span, advanced):
        if len(again.values) and again.start >= begin and standing.takes(again.keys, again.values):
            result.took(again.records, Compared(len(again.values), 0, []))
            continue
        there = standing.until(again.stop)
        if again.start < begin:
            result.past_retention += again.records
        elif again.refused:
            result.unscored += again.records
        else:
            result.took(again.records, compare(codec, again.keys, again.values, there, again.start))
    nothing = BytesColumn.nulls(0)
    if (left := standing.until(span.stop)) is not None:  # predictions that nothing gives
        result.took(0, compare(codec, nothing, nothing, left, span.stop))
    for late in standing.late(span.start, span.stop):
        result.took(0, compare(codec, nothing, nothing, late, span.stop))
    return result
