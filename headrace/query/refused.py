"""What preprocess made of a stretch of raw: waited for, and counted by the code of its dead letters."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.errors import Unavailable
from headrace.kafka.log import TopicPartition, read_range
from headrace.schema.records import DeadLetter
from headrace.topics.pipeline_topics import PipelineTopics

LOOK_S = 0.2
Ends = Mapping[int, int]
"""Partition -> offset."""


@dataclass(frozen=True)
class Stretch:
    """Where raw and dead ended before some records came."""

    raw: Ends
    dead: Ends


@dataclass
class RefusedLater:
    """Dead letters of a processor: code -> how many, and the reason of one."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


def ends_now(topics: PipelineTopics) -> Stretch:
    """Where the stretch of what comes next begins."""
    log = topics.log
    return Stretch(log.high_watermarks(topics.topic("raw")), log.high_watermarks(topics.topic("dead")))


def wait_for_preprocess(topics: PipelineTopics, since: Stretch, timeout: float) -> RefusedLater:
    """Wait until preprocess has committed past the end of raw as it is now, and count what it refused since.

    Args:
        topics: the pipeline's topics.
        since: where the stretch began; it may hold the records of other producers, too.
        timeout: seconds to wait.

    Raises:
        Unavailable: it has not got so far in time; the message says how far it is.
    """
    raw = topics.topic("raw")
    wanted = {p: end for p, end in topics.log.high_watermarks(raw).items() if end > since.raw.get(p, 0)}
    deadline = time.monotonic() + timeout
    while behind := _behind(topics, wanted):
        if time.monotonic() > deadline:
            raise Unavailable(
                f"preprocess has still {sum(behind.values()):,} offsets of {raw} to come after {timeout:.0f} s: "
                "is it running? `headrace run preprocess` starts it, `headrace lag` shows how far it is"
            )
        time.sleep(LOOK_S)
    return _refused(topics, since)


def _behind(topics: PipelineTopics, wanted: Ends) -> dict[int, int]:
    group = topics.topic("preprocess")
    committed = {tp.partition: at for tp, at in topics.log.committed(group).items() if tp.topic == topics.topic("raw")}
    # What lies behind the last record of a transaction is its marker.
    stable = {p: stop for p, (_, stop) in topics.log.bounds(topics.topic("raw")).items()}
    return {
        p: end - committed.get(p, 0)
        for p, end in wanted.items()
        if committed.get(p, 0) < end and (stable[p] < end or _has_records(topics, p, committed.get(p, 0), end))
    }


def _has_records(topics: PipelineTopics, partition: int, start: int, stop: int) -> bool:
    tp = topics.tp("raw", partition)
    return any(len(chunk) for chunk in read_range(topics.log, {tp: (max(start, stop - 5), stop)}))


def _refused(topics: PipelineTopics, since: Stretch) -> RefusedLater:
    found = RefusedLater()
    raw = topics.topic("raw")
    ranges = {
        TopicPartition(topics.topic("dead"), p): (since.dead.get(p, 0), end)
        for p, end in topics.log.high_watermarks(topics.topic("dead")).items()
    }
    for chunk in read_range(topics.log, ranges, settled=True):
        for _, letter in topics.control_records(chunk):
            if isinstance(letter, DeadLetter) and letter.topic == raw:
                found.counts[letter.code] += 1
                found.examples.setdefault(letter.code, letter.reason)
    return found
