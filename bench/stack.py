"""The bench's own Kafka: as ``headrace up`` starts it, with more heap, on its own cores, in a folder that goes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from bench import cores
from headrace.config import Settings
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.kafka.cluster import KafkaLog

HEAP_MB = 1024
SEGMENT = {"segment.bytes": str(64 << 20), "file.delete.delay.ms": "1000"}
"""Of the topics runs write to: small segments, so that what a run wrote can be thrown away after it."""
CALL_S = 30.0


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
        if self.log.committed(group):
            self._admin.delete_consumer_groups([group], request_timeout=CALL_S)[group].result(CALL_S)

    def discard(self, topics: Sequence[str]) -> None:
        """Throw away every record these topics hold now."""
        ends = [KafkaPartition(t, p, end) for t in topics for p, end in self.log.high_watermarks(t).items()]
        for future in self._admin.delete_records(ends, request_timeout=CALL_S).values():
            future.result(CALL_S)


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
