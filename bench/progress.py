"""How far a process has come, seen from outside: by the ends of the topics it writes to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from confluent_kafka import IsolationLevel
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from bench.stack import Cluster
from headrace.errors import StackError

SAMPLE_S = 0.02
FIRST_S = 60.0
"""Longest wait for the first record."""
STALL_S = 20.0
"""Longest wait for the next one."""
CALL_S = 20.0
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Rate:
    """What was done in a span of steady work."""

    records: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.records / self.seconds


class Ends:
    """Counts the records that a read_committed reader can see in some topics, markers of transactions included.

    Begins at 0, whatever the topics held before.
    """

    def __init__(self, cluster: Cluster, topics: Sequence[str]) -> None:
        self._admin = AdminClient({"bootstrap.servers": cluster.settings.bootstrap, "log_level": 0})
        parts = [KafkaPartition(t, p) for t in topics for p in range(cluster.log.partitions(t))]
        self._asked = dict.fromkeys(parts, _LATEST)
        self._before = self._sum()

    def __call__(self) -> int:
        return self._sum() - self._before

    def _sum(self) -> int:
        answers = self._admin.list_offsets(
            self._asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=CALL_S
        )
        return sum(int(f.result(CALL_S).offset) for f in answers.values())


def watch(progress: Callable[[], int], check: Callable[[], None], records: int, limit_s: float, warm: int = 0) -> Rate:
    """Follow a process from the first sample past ``warm`` to the first at ``records``, or ``limit_s`` later.

    Start-up is so left out: what counts lies between two samples of a process at work.

    Args:
        progress: records done so far.
        check: raises where the process has ended.
        records: how far to follow it.
        limit_s: how long to follow it at most, from its first sample.
        warm: records to leave out of the measurement.

    Raises:
        StackError: no record came for too long.
    """
    began = first_at = moved_at = time.perf_counter()
    first = last = 0
    while True:
        at, now = progress(), time.perf_counter()
        if at > last:
            last, moved_at = at, now
            if not first and at > warm:
                first, first_at = at, now
        if first and (at >= records or now - first_at >= limit_s) and moved_at > first_at:
            return Rate(last - first, moved_at - first_at)
        check()
        if now - moved_at > (STALL_S if last else FIRST_S):
            raise StackError(f"no progress for {now - moved_at:.0f} s, after {last} records in {now - began:.0f} s")
        time.sleep(SAMPLE_S)
