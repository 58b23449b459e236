"""A model as data: its manifest and its ONNX bytes, which travel in chunks. Imports nothing that is slow to import."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.errors import ModelRejected
from headrace.schema.records import ModelChunk, ModelManifest

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


def check_size(manifest: ModelManifest) -> None:
    """Check what a manifest says of its model's size, before any chunk is read.

    Raises:
        ModelRejected: the model is too large, or that number of chunks cannot hold it.
    """
    short = manifest.model_id[:12]
    if manifest.size > SIZE_BUDGET:
        raise ModelRejected(f"model {short}: {manifest.size} bytes, over the budget of {SIZE_BUDGET}")
    if len(manifest.chunks) != -(-manifest.size // CHUNK_BYTES):
        raise ModelRejected(f"model {short}: {len(manifest.chunks)} chunks cannot hold {manifest.size} bytes")


def assemble(manifest: ModelManifest, chunks: Sequence[ModelChunk]) -> Package:
    """Put a model together from its chunks and check every digest.

    Raises:
        ModelRejected: a chunk is missing or altered, the whole is not what its id says, or it is too large.
    """
    check_size(manifest)
    short = manifest.model_id[:12]
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
