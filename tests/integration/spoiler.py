"""A log copied into memory, where one thing in it can be spoilt."""

from __future__ import annotations

import polars as pl

from headrace.kafka.log import Chunk
from headrace.kafka.memory import MemoryLog
from headrace.schema.records import Record
from headrace.topics.pipeline_topics import PipelineTopics
from tests.integration.platform import rows_of


class Spoiler:
    """Spoils one thing in a log, and knows where."""

    def __init__(self, topics: PipelineTopics) -> None:
        self.topics = topics
        assert isinstance(topics.log, MemoryLog)
        self.log: MemoryLog = topics.log

    def some(self, name: str, condition: pl.Expr | None = None) -> tuple[int, int, pl.DataFrame]:
        """Partition, offset and row of the fifth record of a topic that fulfils a condition."""
        rows = rows_of(self.topics, name)
        row = (rows if condition is None else rows.filter(condition))[4]
        return int(row["p"][0]), int(row["o"][0]), row.drop("p", "o")

    def value(self, name: str, p: int, offset: int) -> bytes | None:
        return self.log.entries[self.topics.tp(name, p)][offset].value

    def append(self, name: str, p: int, *values: bytes | None) -> list[int]:
        """Add records; gives their offsets."""
        entries = self.log.entries[self.topics.tp(name, p)]
        start = len(entries)
        offsets = list(range(start, start + len(values)))
        self.log.place(Chunk.of(self.topics.tp(name, p), offsets, [b"k"] * len(values), list(values)))
        return offsets

    def control(self, name: str, record: Record, p: int = 0) -> int:
        return self.append(name, p, self.topics.codec(name).encode_control(record))[0]

    def rewrite(self, name: str, p: int, offset: int, row: pl.DataFrame) -> None:
        self.log.overwrite(self.topics.tp(name, p), offset, self.topics.codec(name).encode(row)[0])
