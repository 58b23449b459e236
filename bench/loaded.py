"""A pipeline's topics on the cluster, with a model in force and records to read."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from bench.stack import SEGMENT, Cluster
from headrace.log.pipeline_log import PipelineLog
from headrace.models.package import Package, publication
from headrace.pipeline import Pipeline
from headrace.records import Activated, PartitionOffset, Policy, PolicyMarker, Route
from headrace.registry import ConfluentRegistry

WRITTEN = ("features", "labels", "examples", "predictions", "outcomes", "dead")
SLICE = 50_000


class Loaded:
    """A pipeline on a cluster.

    Args:
        cluster: where.
        pipeline: its declaration; the topics are created here.
        reference: what ``headrace run --pipeline`` takes to find it.
    """

    def __init__(self, cluster: Cluster, pipeline: Pipeline, reference: str) -> None:
        self.cluster = cluster
        self.pipeline = pipeline
        self.reference = reference
        cluster.log.create_topics({pipeline.topic(name): (pipeline.partitions, SEGMENT) for name in WRITTEN})
        self.topics = PipelineLog(pipeline, cluster.log, ConfluentRegistry(cluster.settings))
        self.topics.init()
        self._sender = cluster.log.sender("bench")

    def rule(self, package: Package, name: str = "first") -> None:
        """Publish a model and put it in force from here on, as retrain and govern would."""
        topics = self.topics
        policy = Policy(routes=[Route(model_id=package.manifest.model_id, weight=1)])
        marker = PolicyMarker(activation_id=name, policy=policy)
        writer = self.cluster.log.writer(f"{self.pipeline.name}.bench")
        writer.begin()
        writer.write(publication(topics, package))
        writer.commit()
        writer.begin()
        marks = [topics.control("features", [marker], ["m"], partition=p) for p in range(self.pipeline.partitions)]
        placed = [PartitionOffset(partition=p, offset=at[0]) for p, at in enumerate(writer.write_tracked(marks))]
        activated = Activated(
            activation_id=name,
            model_id=policy.champion,
            policy=policy,
            markers=placed,
            reason="approval",
            order_offset=-1,
            evidence_hash="",
        )
        writer.write(topics.control("decisions", [activated], [policy.champion]))
        writer.commit()
        writer.close()

    def load(self, name: str, rows: pl.DataFrame, key: str = "key") -> None:
        """Write rows to one of the topics and wait until the broker has them."""
        for part in rows.iter_slices(SLICE):
            self.send(name, [k.encode() for k in part[key]], list(self.topics.codec(name).encode(part)))
        self.flush()

    def send(self, name: str, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> None:
        """Hand over records as they are."""
        self._sender.send(self.topics.topic(name), keys, values)

    def flush(self) -> None:
        """Wait until the broker has everything."""
        self._sender.flush()
