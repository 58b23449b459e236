"""The topics of one pipeline on one cluster, with their codecs: what every processor is handed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from headrace.codec.column import BytesColumn
from headrace.codec.encoder import ColumnValues
from headrace.codec.topic import Decoded, TopicCodec
from headrace.codec.types import polars_schema
from headrace.codec.wire import Code
from headrace.declare.pipeline import Pipeline
from headrace.errors import SchemaError
from headrace.kafka.log import Chunk, Log, Output, TopicPartition, read_all, read_range
from headrace.schema.own import own_schema
from headrace.schema.records import Record
from headrace.schema.registry import Registry, subject_of
from headrace.topics.evolution import Subject, refuse_other_values, subjects
from headrace.topics.table import TOPICS

OWN = ("raw", "features", "examples")
"""Topics whose first record type is the pipeline's own."""
_TAIL = 200
"""Last offsets of a partition among which its newest event time is looked for."""
LONGEST_KEPT = 1_000_000
"""Bytes of an original value that a dead letter keeps; the rest of a longer one is cut off, and said."""


class PipelineTopics:
    """A pipeline's topics: names, codecs, dead letters, and control records in and out.

    Args:
        pipeline: the user's declaration.
        log: the cluster, or its twin.
        registry: the schema registry.
    """

    def __init__(self, pipeline: Pipeline, log: Log, registry: Registry) -> None:
        self.pipeline = pipeline
        self.log = log
        self.registry = registry
        self.codec = cache(self._codec)
        log.carry_ids([self.topic("raw")])  # the one topic that serializers of others write to

    def init(self, *, other_values: bool = False) -> list[str]:
        """Create the topics that are missing and register every schema; safe to repeat.

        Args:
            other_values: register also a schema after which old values of a field would be read as others by a reader
                that does not go by the writer's own type.

        Returns:
            The topics created.

        Raises:
            SchemaError: a schema is not compatible with what is registered, or gives old values another meaning.
        """
        for name in OWN if not other_values else ():
            refuse_other_values(self.registry, self.topic(name), TOPICS[name].schemas(self.pipeline)[0])
        schemas = [(self.topic(t.name), schema) for t in TOPICS.values() for schema in t.schemas(self.pipeline)]
        self.registry.register_all([(subject_of(topic, schema), schema) for topic, schema in schemas])
        wanted = {self.topic(t.name): (self.pipeline.partitions if t.keyed else 1, t.config) for t in TOPICS.values()}
        return self.log.create_topics(wanted)

    def subjects(self, raw: dict[str, Any] | None = None) -> list[Subject]:
        """The pipeline's own record types, held against the registry; ``raw``: another schema of its events."""
        declared = {name: TOPICS[name].schemas(self.pipeline)[:1] for name in OWN}
        if raw is not None:
            declared["raw"] = [raw]
        return subjects(self.registry, {self.topic(name): schemas for name, schemas in declared.items()})

    def topic(self, name: str) -> str:
        """Full name of a topic, e.g. ``flights.features``."""
        return self.pipeline.topic(name)

    def tp(self, name: str, partition: int = 0) -> TopicPartition:
        """A partition of one of the pipeline's topics."""
        return TopicPartition(self.topic(name), partition)

    def prepare(self, *names: str) -> None:
        """Look up the ids of the topics' schemas now, so that no later write can meet a registry that is away."""
        for name in names:
            self.codec(name).prepare()

    def columns(self, name: str) -> dict[str, pl.DataType]:
        """Column name -> dtype of the topic's first record type."""
        return polars_schema(TOPICS[name].schemas(self.pipeline)[0])

    def rows(self, name: str, partition: int, frame: pl.DataFrame, keys: Sequence[bytes | None]) -> Output:
        """Each row of ``frame`` as a record of the topic's first type."""
        return Output(self.tp(name, partition), keys, self.codec(name).encode(frame))

    def control(self, name: str, records: Sequence[Record], keys: Sequence[str], partition: int = 0) -> Output:
        """Control records for one partition of a topic."""
        codec = self.codec(name)
        return Output(self.tp(name, partition), [k.encode() for k in keys], [codec.encode_control(r) for r in records])

    def read_control(self, name: str, *, settled: bool = False) -> Iterator[tuple[int, Record]]:
        """Every control record of a one-partition topic now, with its offset. Damaged ones are passed over.

        With ``settled``, transactions that are open now are waited for.
        """
        for chunk in read_all(self.log, self.topic(name), settled=settled):
            yield from self.control_records(chunk)

    def control_records(self, chunk: Chunk) -> Iterator[tuple[int, Record]]:
        """The control records of a chunk with their offsets. Damaged ones are passed over."""
        found = self.codec(self.short(chunk.tp.topic)).decode_controls(chunk.values)
        return ((o, r) for o, r in zip(chunk.offsets.tolist(), found, strict=True) if isinstance(r, Record))

    def damaged_control(self, chunk: Chunk) -> list[tuple[int, str]]:
        """Place and reason of the records of a control chunk that cannot be decoded."""
        found = self.codec(self.short(chunk.tp.topic)).decode_controls(chunk.values)
        return [(place, str(e)) for place, e in enumerate(found) if isinstance(e, SchemaError)]

    def short(self, topic: str) -> str:
        """The topic's name within the pipeline: ``flights.features`` -> ``features``."""
        return topic.removeprefix(f"{self.pipeline.name}.")

    def dead_letters(self, stage: str, chunk: Chunk, decoded: Decoded) -> list[Output]:
        """Dead letters of the records of ``chunk`` that could not be decoded."""
        failed = [(place, Code(decoded.codes[place]).label, why) for place, why in decoded.reasons.items()]
        return self.dead(stage, chunk, failed)

    def dead(
        self, stage: str, chunk: Chunk, failed: Sequence[tuple[int, str, str]], trace: str | None = None
    ) -> list[Output]:
        """Dead letters for records of ``chunk``, each given as place, code and reason."""
        if not failed:
            return []
        places = np.array([place for place, _, _ in failed], dtype=np.int64)
        codes, reasons = (BytesColumn.of([f[i].encode() for f in failed]) for i in (1, 2))  # type: ignore[union-attr]
        keys = chunk.keys[places]
        columns: dict[str, ColumnValues] = {
            "stage": stage,
            "code": codes,
            "reason": reasons,
            "topic": chunk.tp.topic,
            "partition": chunk.tp.partition,
            "offset": chunk.offsets[places],
            "key": keys,
            "value": _cut(chunk.values[places]),
            "traceback": trace,
            "at": time.time_ns() // 1_000,
        }
        letters = self.codec("dead").encode_columns(len(places), columns)
        counted = Counter(code for _, code, _ in failed)
        return [Output(self.tp("dead", chunk.tp.partition), keys, letters, counted)]

    def failure(self, stage: str, chunk: Chunk, trace: str) -> Output:
        """Dead letter of a one-record chunk on which a processor's own code failed."""
        return self.dead(stage, chunk, [(0, "processor_failed", trace.strip().splitlines()[-1])], trace)[0]

    def newest_event_time(self, name: str) -> datetime | None:
        """Newest event time among the last records of each partition of a topic."""
        newest = None
        for partition, (start, stop) in self.log.bounds(self.topic(name)).items():
            tail = {self.tp(name, partition): (max(start, stop - _TAIL), stop)}
            for chunk in read_range(self.log, tail):
                latest = self.codec(name).decode(chunk.values).frame()["event_time"].max()
                if isinstance(latest, datetime):
                    newest = max(newest or latest, latest)
        return newest

    def _codec(self, name: str) -> TopicCodec:
        topic = TOPICS[name]
        formerly = [own_schema(record) for record in topic.formerly]
        return TopicCodec(self.topic(name), topic.schemas(self.pipeline), self.registry, formerly)


def _cut(values: BytesColumn) -> BytesColumn:
    if len(values.data) <= LONGEST_KEPT:
        return values
    return BytesColumn.of([None if v is None else v[:LONGEST_KEPT] for v in values])
