"""A model on topics: its chunks on one, its manifest on another. Nothing acts on a model before its manifest."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from headrace.governance.catalog import keyed
from headrace.kafka.log import Log, Output, TopicPartition, read_range
from headrace.models.package.package import Package, assemble, check_size, cut, digest
from headrace.schema.records import ModelChunk, ModelManifest
from headrace.topics.pipeline_topics import PipelineTopics

_AT_ONCE = 50
"""Records in memory together: a chunk is half a megabyte."""
_END = sys.maxsize
BACK_S = 10.0
"""How long a topic that ends before the chunks it should hold is waited for: its broker may not be back whole."""
POLL_S = 0.5


def publication(topics: PipelineTopics, package: Package) -> list[Output]:
    """The records that publish a model, to be written in one transaction, in this order: chunks, then the manifest.

    The manifest says where the chunks begin: no earlier than where their topic ends now.

    Raises:
        ConfigError: there is no topic for chunks.
        Unavailable: Kafka is away.
    """
    chunks = cut(package.onnx)
    end = topics.log.high_watermarks(topics.topic("model_chunks"))[0]
    manifest = package.manifest.model_copy(update={"chunks_from": end})
    return [
        topics.control("model_chunks", chunks, [f"{c.model_id}/{c.index}" for c in chunks]),
        topics.control("models", [manifest], [manifest.model_id]),
    ]


def fetch(topics: PipelineTopics, log: Log, manifest: ModelManifest, manifest_offset: int) -> Package:
    """Read a model's chunks from the log and put it together; other models' chunks are not decoded.

    The chunks are looked for where the manifest says. Wherever else they may be is read only where they are not all
    found there: chunks are known by their digests, so that it does not matter where they stand. Where the topic ends
    before they should, and they are nowhere else, its broker gets :data:`BACK_S` seconds to come back with the rest.

    Raises:
        ModelRejected: see :func:`headrace.models.package.package.assemble`.
        Unavailable: Kafka is away, or the models topic ends before the manifest.
    """
    check_size(manifest)
    deadline = time.monotonic() + BACK_S
    while True:
        chunks = _found(topics, log, manifest, manifest_offset)
        if chunks.all_sound or not _cut_short(topics, log, manifest) or time.monotonic() > deadline:
            return assemble(manifest, chunks.chunks)
        time.sleep(POLL_S)


class _Found(NamedTuple):
    """The chunks of a model; those that have not the digest stated are among them where no others are there."""

    chunks: list[ModelChunk]
    all_sound: bool


def _found(topics: PipelineTopics, log: Log, manifest: ModelManifest, manifest_offset: int) -> _Found:
    count = len(manifest.chunks)
    sound: dict[int, ModelChunk] = {}
    altered: dict[int, ModelChunk] = {}
    places = _places(topics, manifest, manifest_offset)
    for chunk in (chunk for place in places for chunk in _chunks_of(topics, log, manifest.model_id, place)):
        if 0 <= chunk.index < count and chunk.index not in sound:
            as_stated = digest(chunk.data) == manifest.chunks[chunk.index]
            (sound if as_stated else altered)[chunk.index] = chunk
        if len(sound) == count:
            break
    return _Found([*sound.values(), *altered.values()], len(sound) == count)


def _cut_short(topics: PipelineTopics, log: Log, manifest: ModelManifest) -> bool:
    """Whether the topic of chunks ends before those of a manifest do."""
    if manifest.chunks_from is None:
        return False
    return log.high_watermarks(topics.topic("model_chunks"))[0] < manifest.chunks_from + len(manifest.chunks)


class _Place(NamedTuple):
    """Offsets of a partition in which a model's chunks may be; ``whole``: those offsets have been read before."""

    tp: TopicPartition
    start: int
    stop: int
    whole: bool = False


def _places(topics: PipelineTopics, manifest: ModelManifest, manifest_offset: int) -> list[_Place]:
    """Where a model's chunks may be, the likeliest first."""
    count, begin = len(manifest.chunks), manifest.chunks_from
    models, chunks = topics.tp("models"), topics.tp("model_chunks")
    beside = [  # as versions wrote them that had no topic for chunks
        _Place(models, max(0, manifest_offset - 2 * count - 2), manifest_offset, whole=True),
        _Place(models, 0, manifest_offset, whole=True),
    ]
    if begin is None:
        return [*beside, _Place(chunks, 0, _END)]
    stated = [_Place(chunks, begin, begin + count), _Place(chunks, begin + count, _END), _Place(chunks, 0, begin)]
    return [*stated, *beside]


def _chunks_of(topics: PipelineTopics, log: Log, model_id: str, place: _Place) -> Iterator[ModelChunk]:
    """The chunks of a model in a place.

    Transactions that are open now are waited for: they hold back what was committed after them, and a manifest may be
    seen a moment before the chunks of its own transaction are.
    """
    prefix = f"{model_id}/".encode()
    ranges = {place.tp: (place.start, place.stop)}
    at_once = min(_AT_ONCE, max(1, place.stop - place.start))
    for chunk in read_range(log, ranges, at_once, settled=True, whole=place.whole):
        for _, record in topics.control_records(keyed(chunk, lambda key: key.startswith(prefix))):
            if isinstance(record, ModelChunk) and record.model_id == model_id:
                yield record
