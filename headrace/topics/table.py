"""The topics of a pipeline, as data: what each carries, how it is partitioned, and how long it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from headrace.declare.pipeline import Pipeline
from headrace.schema.own import own_schema

Retention = Literal["time", "compact", "compact+time", "forever"]

_CONFIG: dict[Retention, dict[str, str]] = {
    "time": {"cleanup.policy": "delete"},
    "compact": {"cleanup.policy": "compact"},
    "compact+time": {"cleanup.policy": "compact,delete"},
    "forever": {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"},
}
LARGEST_BATCH = 4 << 20
"""Bytes of the largest batch that a topic takes: one of the writers' full ones, or a largest record, not compressed."""


@dataclass(frozen=True)
class Topic:
    """One row of the topic table.

    ``records`` names the record types; ``raw``, ``features`` and ``examples`` stand for the pipeline's own.
    A keyed topic has the pipeline's partitions, so that one key has one partition number everywhere;
    the others have one partition. ``formerly`` names record types that older versions wrote to it: still read there,
    never written.
    """

    name: str
    records: tuple[str, ...]
    keyed: bool
    retention: Retention
    formerly: tuple[str, ...] = ()

    @property
    def readable(self) -> tuple[str, ...]:
        """Every record type that may be met on the topic, in the order in which its codec numbers them."""
        return (*self.records, *self.formerly)

    @property
    def config(self) -> dict[str, str]:
        """Kafka topic properties."""
        return {**_CONFIG[self.retention], "max.message.bytes": str(LARGEST_BATCH)}

    def schemas(self, pipeline: Pipeline) -> list[dict[str, Any]]:
        """Avro schemas of the record types written to the topic for a pipeline, in the order of ``records``."""
        own = {
            "raw": lambda: pipeline.raw,
            "features": lambda: pipeline.feature_schema,
            "examples": lambda: pipeline.example_schema,
        }
        return [own[r]() if r in own else own_schema(r) for r in self.records]


TOPICS: dict[str, Topic] = {
    t.name: t
    for t in (
        Topic("raw", ("raw",), True, "time"),
        Topic("features", ("features", "PolicyMarker"), True, "time"),
        Topic("labels", ("Label",), True, "time"),
        Topic("examples", ("examples",), True, "time"),
        Topic("triggers", ("TrainingTrigger",), False, "compact+time"),
        Topic("models", ("ModelManifest", "TrainedAgain"), False, "compact", formerly=("ModelChunk",)),
        Topic("model_chunks", ("ModelChunk",), False, "compact"),
        Topic(
            "decisions",
            ("GateResult", "Approval", "Rejection", "Activated", "RolledBack", "LossAccepted"),
            False,
            "forever",
        ),
        Topic("workers", ("WorkerStatus",), False, "compact"),
        Topic("contracts", ("ConsumerContract",), False, "compact"),
        Topic("predictions", ("Prediction",), True, "time"),
        Topic("outcomes", ("Outcome",), True, "time"),
        Topic("metrics", ("Metric",), False, "time"),
        Topic("pushes", ("FilePushed",), False, "compact+time"),
        Topic("dead", ("DeadLetter", "DeadRetry"), True, "time"),
    )
}
