"""Models of a few chunks on a log that notes what is read of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.kafka.log import Chunk, Output, Reader, TopicPartition
from headrace.kafka.memory import MemoryLog
from headrace.models.package.package import Package, cut, digest
from headrace.models.package.topic import fetch
from headrace.query.records import Asked, records_of
from headrace.schema.records import ModelManifest
from headrace.testing.models import model_package
from headrace.testing.pipelines import toy
from headrace.topics.pipeline_topics import PipelineTopics

PIPELINE = toy("chunks", partitions=1)


class _Counted:
    """A reader that notes the topic and key of each record it gives."""

    def __init__(self, reader: Reader, read: list[tuple[str, str]]) -> None:
        self._reader = reader
        self._read = read

    def poll(self, limit: int, timeout: float) -> list[Chunk]:
        chunks = self._reader.poll(limit, timeout)
        self._read += [(c.tp.topic, (key or b"").decode()) for c in chunks for key in c.keys]
        return chunks

    def reached(self, tp: TopicPartition) -> int:
        return self._reader.reached(tp)

    def close(self) -> None:
        self._reader.close()


class CountingLog(MemoryLog):
    """Notes what its readers give."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[tuple[str, str]] = []
        self.began: set[TopicPartition] = set()

    def reader(self, starts: Mapping[TopicPartition, int], *, committed: bool = True) -> Reader:  # type: ignore[override]
        self.began |= starts.keys()
        return _Counted(super().reader(starts, committed=committed), self.read)


def bytes_package(onnx: bytes) -> Package:
    """A package of any bytes: no model, yet published and fetched as one."""
    chunks = cut(onnx)
    stated = {"model_id": digest(onnx), "size": len(onnx), "chunks": [c.digest for c in chunks]}
    return Package(model_package(PIPELINE, 0).manifest.model_copy(update=stated), onnx)


def write(topics: PipelineTopics, outputs: Sequence[Output], *, commit: bool = True) -> None:
    writer = topics.log.writer("test")
    writer.begin()
    for output in outputs:
        writer.write(output)
    if commit:
        writer.commit()
    else:
        writer.abort()
    writer.close()


def keys(topics: PipelineTopics, name: str) -> list[str]:
    return [str(row["key"]) for row in records_of(topics, name, Asked(limit=1000))]


def fetched(topics: PipelineTopics, manifest: ModelManifest, offset: int) -> bytes:
    return fetch(topics, topics.log, manifest, offset).onnx


def compact(log: MemoryLog, tp: TopicPartition) -> None:
    """Keep the last committed record of each key, as the broker's cleaner does."""
    last = {entry.key: offset for offset, entry in enumerate(log.entries[tp]) if entry.visible}
    for offset, entry in enumerate(log.entries[tp]):
        if entry.visible and last[entry.key] != offset:
            log.erase(tp, offset)
