"""What the cost of a record should not depend on: the age of the log, past models, the number of partitions."""

from __future__ import annotations

from functools import partial

from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from bench.loaded import Loaded
from bench.models import package
from bench.pairing import Measure
from bench.pipeline import REFERENCE, declared, feature_rows
from bench.progress import Ends, Rate, watch
from bench.sitting import FULL, Sitting
from bench.worker import WARM, Worker

PARTITIONS = (4, 32)
PAST_MODELS = 50
AGE = 3
"""Times the records of a run that lie before the first one read, in the old log."""
CALL_S = 20.0


def flat(sitting: Sitting) -> None:
    """The linear infer worker as a share of the same on a young log of one partition with one model."""
    cases = {f"infer_partitions{n}": sitting.loaded("linear", f"partitions{n}", partitions=n) for n in PARTITIONS}
    runs: dict[str, Measure] = {name: partial(sitting.infer, loaded) for name, loaded in cases.items()}
    past = _after_many_models(sitting)
    old = sitting.loaded("linear", "old", records=(AGE + 2) * sitting.scale.records)
    runs |= {
        f"infer_past_models{PAST_MODELS}": partial(sitting.infer, past),
        f"infer_log_age{AGE}x": partial(_from_late, sitting, old),
    }
    sitting.against(runs, lambda: sitting.infer(sitting.linear), "infer_linear_txn100")


def _after_many_models(sitting: Sitting) -> Loaded:
    """Records behind the markers of many models, one after the other in force."""
    loaded = Loaded(sitting.cluster, declared("bench-past-models"), REFERENCE)
    for seed in range(PAST_MODELS if sitting.scale is FULL else 5):
        loaded.rule(package(loaded.pipeline, "linear", seed), f"activation-{seed}")
    loaded.load("features", feature_rows(2 * sitting.scale.records))
    return loaded


def _from_late(sitting: Sitting, loaded: Loaded) -> Rate:
    """A worker that goes on near the end of an old log."""
    group, topic = f"{loaded.pipeline.name}.infer", loaded.topics.topic("features")
    sitting.cluster.forget_group(group)
    admin = AdminClient({"bootstrap.servers": sitting.cluster.settings.bootstrap, "log_level": 0})
    late = KafkaPartition(topic, 0, AGE * sitting.scale.records)
    for future in admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [late])]).values():
        future.result(CALL_S)
    predictions = loaded.topics.topic("predictions")
    written = Ends(sitting.cluster, [predictions])
    with Worker(loaded, "infer", 100) as worker:
        found = watch(written, worker.check, 2 * sitting.scale.records, sitting.scale.limit_s, WARM)
    sitting.cluster.discard([predictions])
    return found
