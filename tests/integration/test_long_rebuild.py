"""A rebuild that takes longer than ``max.poll.interval.ms``, on a real Kafka: the partitions stay."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest

from headrace.config import Settings
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Chunk, TopicPartition
from headrace.worker.loop import ExactlyOnceLoop, LoopConfig
from headrace.worker.processor import Step
from tests.toys import RunningCount, counts, dead_letter, values_of
from tests.waiting import wait_for

pytestmark = pytest.mark.kafka

INTERVAL_S = 2.0
RECORDS, BATCH = 400, 10
WORK_S = 0.08
"""Seconds of work on a batch: 40 batches take longer than the interval."""


class Slow(RunningCount):
    """Counts words with a state that begins at the first record, and works slowly while it is brought back."""

    def __init__(self, source: str, sink: str) -> None:
        super().__init__(source, sink, horizon=10_000)
        self.slow = False
        self.assignments: list[int] = []

    def process(self, batch: Chunk) -> Step:
        if self.slow:
            time.sleep(WORK_S)
        return super().process(batch)

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self.assignments.append(len(tps))
        super().assigned(tps)


def test_a_rebuild_longer_than_the_poll_interval_ends_with_the_partitions_still_held(
    settings: Settings, unique: Callable[[str], str]
) -> None:
    source, sink, group = (unique(name) for name in ("in", "out", "g"))
    limits = {"max.poll.interval.ms": str(int(INTERVAL_S * 1000)), "session.timeout.ms": str(int(INTERVAL_S * 1000))}
    log = KafkaLog(settings.model_copy(update={"kafka": settings.kafka | limits}), "test")
    log.create_topics({source: (1, {}), sink: (1, {}), "dead": (1, {})})
    sender = log.sender("test")
    words = [b"w%d" % (i % 7) for i in range(RECORDS)]
    sender.send(source, [b"k"] * RECORDS, words)
    sender.flush()

    def loop(processor: Slow, worker: str) -> ExactlyOnceLoop:
        return ExactlyOnceLoop(log, processor, LoopConfig(group, worker, batch=BATCH), dead_letter)

    first = Slow(source, sink)
    loop(first, "a").run(until=lambda: len(values_of(log, sink)[0]) == RECORDS)
    again = Slow(source, sink)
    again.slow = True
    second = loop(again, "b")
    began = time.monotonic()
    second.run(until=lambda: second.status.ready)
    assert time.monotonic() - began > INTERVAL_S
    assert again.assignments[0] == 1
    assert set(again.assignments[:-1]) == {1}, "they never went, until it left"
    sender.send(source, [b"k"], [b"w0"])
    sender.flush()
    third = Slow(source, sink)
    loop(third, "c").run(until=lambda: len(values_of(log, sink)[0]) == RECORDS + 1)
    given = [(i, word.decode()) for i, word in enumerate([*words, b"w0"])]
    wait_for(lambda: values_of(log, sink)[0] == counts(given, 10_000), 10, "the counts of all records")
