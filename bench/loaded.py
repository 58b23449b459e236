"""A pipeline's topics on the cluster, with a model in force and records to read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property

import polars as pl

from bench.stack import SEGMENT, Cluster
from headrace.declare.pipeline import Pipeline
from headrace.errors import StackError
from headrace.kafka.log import Reader, Writer
from headrace.models.package.package import Package
from headrace.models.package.topic import publication
from headrace.schema.records import Activated, Approval, PartitionOffset, Policy, PolicyMarker, Route, WorkerStatus
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics

WRITTEN = ("features", "labels", "examples", "predictions", "outcomes", "dead")
SLICE = 50_000
STATUS_S = 30.0


class Loaded:
    """A pipeline on a cluster.

    Args:
        cluster: where.
        pipeline: its declaration; the topics are created here.
        reference: what ``headrace run`` takes to find it.
        settings: of the topics that runs write to; without any, they are as ``headrace init`` makes them.
    """

    def __init__(
        self, cluster: Cluster, pipeline: Pipeline, reference: str, settings: Mapping[str, str] = SEGMENT
    ) -> None:
        self.cluster = cluster
        self.pipeline = pipeline
        self.reference = reference
        cluster.log.create_topics({pipeline.topic(name): (pipeline.partitions, settings) for name in WRITTEN})
        self.topics = PipelineTopics(pipeline, cluster.log, ConfluentRegistry(cluster.settings))
        self.topics.init()
        self._sender = cluster.log.sender("bench")
        self._statuses: set[tuple[str, str]] = set()

    @cached_property
    def _writer(self) -> Writer:
        return self.cluster.log.writer(f"{self.pipeline.name}.bench")

    @cached_property
    def _workers(self) -> Reader:
        return self.cluster.log.reader({self.topics.tp("workers"): 0})

    def rule(self, package: Package, name: str = "first") -> None:
        """Publish a model and put it in force from here on, as retrain and govern would."""
        self.publish(package)
        self._activate(_only(package), name, -1)

    def swap(self, package: Package) -> float:
        """Publish and approve a model, and put it in force when the worker has loaded it.

        Returns:
            Seconds from the approval to the marker.
        """
        self.publish(package)
        began, policy = time.perf_counter(), _only(package)
        approval = Approval(model_id=policy.champion, by="bench", evidence_hash="", policy=policy)
        self._writer.begin()
        order = self.topics.control("decisions", [approval], [policy.champion])
        ((offset,),) = self._writer.write_and_wait([order])
        self._writer.commit()
        self._until(policy.champion, "LOADED")
        self._activate(policy, policy.champion, offset)
        took = time.perf_counter() - began
        self._until(policy.champion, "ACTIVE")
        return took

    def publish(self, package: Package) -> None:
        """Put a model on its topics, as retrain would."""
        self._writer.begin()
        for output in publication(self.topics, package):
            self._writer.write(output)
        self._writer.commit()

    def _activate(self, policy: Policy, name: str, order_offset: int) -> None:
        topics, marker = self.topics, PolicyMarker(activation_id=name, policy=policy)
        self._writer.begin()
        marks = [topics.control("features", [marker], ["m"], partition=p) for p in range(self.pipeline.partitions)]
        placed = [PartitionOffset(partition=p, offset=at[0]) for p, at in enumerate(self._writer.write_and_wait(marks))]
        activated = Activated(
            activation_id=name,
            model_id=policy.champion,
            policy=policy,
            markers=placed,
            reason="approval",
            order_offset=order_offset,
            evidence_hash="",
        )
        self._writer.write(topics.control("decisions", [activated], [policy.champion]))
        self._writer.commit()

    def _until(self, model_id: str, state: str) -> None:
        """Wait until a worker says so of a model."""
        deadline = time.monotonic() + STATUS_S
        while (model_id, state) not in self._statuses:
            for chunk in self._workers.poll(100, 0.05):
                for _, record in self.topics.control_records(chunk):
                    assert isinstance(record, WorkerStatus)
                    self._statuses.add((record.model_id, record.state))
            if time.monotonic() > deadline:
                raise StackError(f"no worker says {state} of model {model_id[:12]} within {STATUS_S:.0f} s")

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


def _only(package: Package) -> Policy:
    return Policy(routes=[Route(model_id=package.manifest.model_id, weight=1)])
