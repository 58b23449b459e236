"""A model on a topic: its ONNX bytes in chunks, then the manifest. Nothing acts on a model before its manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.errors import ModelRejected
from headrace.log.base import Log, Output, TopicPartition, read_range
from headrace.log.pipeline_log import PipelineLog
from headrace.records import ModelChunk, ModelManifest, Record

CHUNK_BYTES = 512 * 1024
SIZE_BUDGET = 256 * 1024 * 1024
"""Bytes of a model a reader is willing to put together."""


@dataclass(frozen=True)
class Package:
    """A whole model: its manifest and its ONNX bytes, checked against each other."""

    manifest: ModelManifest
    onnx: bytes


def digest(data: bytes) -> str:
    """sha-256, hex."""
    return hashlib.sha256(data).hexdigest()


def cut(onnx: bytes) -> list[ModelChunk]:
    """Cut ONNX bytes into chunks of at most 512 KiB."""
    model_id = digest(onnx)
    parts = [onnx[i : i + CHUNK_BYTES] for i in range(0, len(onnx), CHUNK_BYTES)]
    return [ModelChunk(model_id=model_id, index=i, digest=digest(p), data=p) for i, p in enumerate(parts)]


def publication(topics: PipelineLog, package: Package) -> Output:
    """The records that publish a model, to be written in one transaction: chunks first, the manifest last."""
    chunks = cut(package.onnx)
    records: list[Record] = [*chunks, package.manifest]
    keys = [f"{c.model_id}/{c.index}" for c in chunks] + [package.manifest.model_id]
    return topics.control("models", records, keys)


def assemble(manifest: ModelManifest, chunks: Sequence[ModelChunk]) -> Package:
    """Put a model together from its chunks and check every digest.

    Raises:
        ModelRejected: a chunk is missing or altered, the whole is not what its id says, or it is too large.
    """
    short = manifest.model_id[:12]
    if manifest.size > SIZE_BUDGET:
        raise ModelRejected(f"model {short}: {manifest.size} bytes, over the budget of {SIZE_BUDGET}")
    if len(manifest.chunks) != -(-manifest.size // CHUNK_BYTES):
        raise ModelRejected(f"model {short}: {len(manifest.chunks)} chunks cannot hold {manifest.size} bytes")
    found: dict[int, list[bytes]] = {}
    for chunk in chunks:
        if chunk.model_id == manifest.model_id:
            found.setdefault(chunk.index, []).append(chunk.data)
    parts = []
    for index, wanted in enumerate(manifest.chunks):
        if index not in found:
            raise ModelRejected(f"model {short}: chunk {index} of {len(manifest.chunks)} is missing")
        part = next((data for data in found[index] if digest(data) == wanted), None)
        if part is None:
            raise ModelRejected(f"model {short}: chunk {index} does not have the digest the manifest states")
        parts.append(part)
    onnx = b"".join(parts)
    if len(onnx) != manifest.size or digest(onnx) != manifest.model_id:
        raise ModelRejected(f"model {short}: the bytes are not those its id stands for")
    return Package(manifest, onnx)


def fetch(topics: PipelineLog, log: Log, manifest: ModelManifest, manifest_offset: int) -> Package:
    """Read a model's chunks from the log, back from its manifest, and put it together.

    Raises:
        ModelRejected: see :func:`assemble`.
    """
    start = max(0, manifest_offset - 2 * len(manifest.chunks) - 2)
    tp = TopicPartition(topics.topic("models"), 0)
    while True:
        chunks = [
            record
            for chunk in read_range(log, {tp: (start, manifest_offset)})
            for _, record in topics.control_records(chunk)
            if isinstance(record, ModelChunk) and record.model_id == manifest.model_id
        ]
        if len({c.index for c in chunks}) >= len(manifest.chunks) or start == 0:
            return assemble(manifest, chunks)
        start = 0
