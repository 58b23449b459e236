"""The join (features + labels -> examples): with little held, and with a million."""

from __future__ import annotations

import time

from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from bench.loaded import Loaded
from bench.pipeline import REFERENCE, declared, feature_rows, label_rows
from bench.progress import Ends, Rate, watch
from bench.sitting import Sitting
from bench.worker import WARM, Worker, throughput

JOINED = 200_000
"""Features records to join: every one is held for its label."""
HELD = 1_000_000
"""Features records that are held before the first label comes."""
LOADED = 100_000
"""Records handed over at a time, so that a slow broker has them in good time."""
CALL_S = 20.0


def join(sitting: Sitting) -> None:
    """Examples a second, each of which takes a features record and its label."""
    loaded = Loaded(sitting.cluster, declared("bench-join"), REFERENCE)
    rows = feature_rows(min(JOINED, sitting.scale.records))
    loaded.load("features", rows)
    loaded.load("labels", label_rows(rows))
    held = _Held(sitting, HELD)

    def run() -> Rate:
        return throughput(loaded, "join", ["examples"], rows.height, sitting.scale.limit_s)

    found = sitting.against({"join_txn100": run, "join_held_txn100": held.run})["join_held_txn100"]
    values = {"held_records": float(held.count), "rebuilt_per_s": held.count / held.ready_s, "resident_mib": held.mib}
    sitting.figures("join_held", values, found.load)


class _Held:
    """A log on which a join has come past many features whose labels follow, with as many features as labels."""

    def __init__(self, sitting: Sitting, count: int) -> None:
        self._sitting = sitting
        self.count = count
        self.ready_s = self.mib = 0.0
        self._labels = sitting.scale.records
        self._loaded = Loaded(sitting.cluster, declared("bench-join-held"), REFERENCE)
        for part in feature_rows(count + self._labels).iter_slices(LOADED):
            self._loaded.load("features", part)
        for part in label_rows(feature_rows(self._labels)).iter_slices(LOADED):
            self._loaded.load("labels", part)

    def run(self) -> Rate:
        """Examples a second of a worker that is started where all of the features are held."""
        cluster, topics = self._sitting.cluster, self._loaded.topics
        group = f"{self._loaded.pipeline.name}.join"
        cluster.forget_group(group)
        admin = AdminClient({"bootstrap.servers": cluster.settings.bootstrap, "log_level": 0})
        # The commit of a worker that has read them, from which another rebuilds its state.
        at = KafkaPartition(topics.topic("features"), 0, self.count, metadata="0")
        for future in admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [at])]).values():
            future.result(CALL_S)
        written = Ends(cluster, [topics.topic("examples")])
        with Worker(self._loaded, "join", 100) as worker:
            began = time.perf_counter()
            worker.wait_ready()
            self.ready_s = time.perf_counter() - began
            found = watch(written, worker.check, self._labels, self._sitting.scale.limit_s, WARM)
            self.mib = worker.resident / (1 << 20)
        cluster.discard([topics.topic("examples")])
        return found
