"""The bench's own Kafka: as ``headrace up`` starts it, with more heap, on its own cores, in a folder that goes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from bench import cores
from headrace.config import Settings
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.errors import StackError
from headrace.log.kafka import KafkaLog

HEAP_MB = 1024
SEGMENT = {"segment.bytes": str(64 << 20), "file.delete.delay.ms": "1000"}
"""Of the topics runs write to: small segments, so that what a run wrote can be thrown away after it."""
CALL_S = 30.0
POLL_S = 0.05


class Cluster:
    """A running Kafka and registry, and what a benchmark does to it beside reading and writing.

    Args:
        settings: where both are.
        broker_pid: process of the broker.
        folder: for logs and files of runs; goes with the stack.
    """

    def __init__(self, settings: Settings, broker_pid: int, folder: Path) -> None:
        self.settings = settings
        self.log = KafkaLog(settings, "bench")
        self.folder = folder
        self._broker_pid = broker_pid
        self._admin = AdminClient({"bootstrap.servers": settings.bootstrap, "log_level": 0})

    def pin_broker(self, where: cores.Cores) -> None:
        """Move the broker to these cores."""
        cores.pin(self._broker_pid, where)

    def forget_group(self, group: str) -> None:
        """Drop a consumer group's committed offsets, so that its next member begins at the first record."""
        self._await_coordinator(group)
        if self.log.committed(group):
            self._admin.delete_consumer_groups([group], request_timeout=CALL_S)[group].result(CALL_S)

    def _await_coordinator(self, group: str) -> None:
        """Wait until the broker answers for a group, as it does not at once on a fresh cluster.

        A consumer asks: librdkafka's admin client ends the whole process (a null pointer in ``rd_kafka_cgrp_op``) when
        ListConsumerGroupOffsets is answered with NOT_COORDINATOR.
        """
        conf = {"bootstrap.servers": self.settings.bootstrap, "group.id": group, "log_level": 0}
        consumer = Consumer(conf)
        deadline = time.monotonic() + CALL_S
        try:
            while not _answered(consumer, group):
                if time.monotonic() > deadline:
                    raise StackError(f"no coordinator of group {group} within {CALL_S:.0f} s")
                time.sleep(POLL_S)
        finally:
            consumer.close()

    def discard(self, topics: Sequence[str]) -> None:
        """Throw away every record these topics hold now."""
        ends = [KafkaPartition(t, p, end) for t in topics for p, end in self.log.high_watermarks(t).items()]
        for future in self._admin.delete_records(ends, request_timeout=CALL_S).values():
            future.result(CALL_S)


def _answered(consumer: Consumer, group: str) -> bool:
    try:
        consumer.committed([KafkaPartition(group, 0)], timeout=CALL_S)
    except KafkaException:
        return False
    return True


@contextmanager
def started() -> Iterator[Cluster]:
    """A fresh cluster for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name:
        folder = Path(name)
        with Stack(folder / "state", layout=Layout(heap_mb=HEAP_MB)) as stack:
            kafka = stack.describe()["kafka"]
            assert kafka is not None, "a started stack has a broker"
            settings = Settings(bootstrap=stack.bootstrap, registry_url=stack.registry_url)
            cluster = Cluster(settings, kafka["pid"], folder)
            cluster.pin_broker(cores.BROKER)
            yield cluster
