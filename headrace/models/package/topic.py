"""A model on a topic: its chunks, then the manifest. Nothing acts on a model before its manifest."""

from __future__ import annotations

from headrace.kafka.log import Log, Output, TopicPartition, read_range
from headrace.models.package.package import Package, assemble, cut
from headrace.schema.records import ModelChunk, ModelManifest, Record
from headrace.topics.pipeline_topics import PipelineTopics


def publication(topics: PipelineTopics, package: Package) -> Output:
    """The records that publish a model, to be written in one transaction: chunks first, the manifest last."""
    chunks = cut(package.onnx)
    records: list[Record] = [*chunks, package.manifest]
    keys = [f"{c.model_id}/{c.index}" for c in chunks] + [package.manifest.model_id]
    return topics.control("models", records, keys)


def fetch(topics: PipelineTopics, log: Log, manifest: ModelManifest, manifest_offset: int) -> Package:
    """Read a model's chunks from the log, back from its manifest, and put it together.

    Raises:
        ModelRejected: see :func:`headrace.models.package.package.assemble`.
    """
    start = max(0, manifest_offset - 2 * len(manifest.chunks) - 2)
    tp = TopicPartition(topics.topic("models"), 0)
    while True:
        chunks = [
            record
            for chunk in read_range(log, {tp: (start, manifest_offset)}, whole=True)
            for _, record in topics.control_records(chunk)
            if isinstance(record, ModelChunk) and record.model_id == manifest.model_id
        ]
        if len({c.index for c in chunks}) >= len(manifest.chunks) or start == 0:
            return assemble(manifest, chunks)
        start = 0
