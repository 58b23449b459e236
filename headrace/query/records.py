"""The records of a topic, decoded, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from headrace.codec.topic import Decoded
from headrace.codec.wire import Code
from headrace.errors import ConfigError
from headrace.kafka.log import Chunk, TopicPartition, read_range
from headrace.schema.records import CONTROL_RECORDS, Record
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS

LONGEST = 1_000
"""Bytes of the longest value that is given whole, as hex."""


@dataclass(frozen=True)
class Asked:
    """Which records.

    Attributes:
        partition: this one only; None: each in turn.
        start: first offset of each partition; None: the first there is.
        last: only the last so many of each partition.
        limit: no more than so many in all.
    """

    partition: int | None = None
    start: int | None = None
    last: int | None = None
    limit: int = 100


def records_of(topics: PipelineTopics, topic: str, asked: Asked) -> Iterator[dict[str, Any]]:
    """Committed records of a topic, in the order of partition and offset.

    Each is ``{"partition", "offset", "key", "type", "value"}``; one that cannot be decoded has ``error`` and ``bytes``
    (hex) in the place of ``type`` and ``value``.

    Args:
        topics: the pipeline's topics.
        topic: its name, full or within the pipeline.
        asked: which records.

    Raises:
        ConfigError: there is no such topic, partition or offset.
        Unavailable: Kafka or the registry is away.
    """
    name = topics.short(topic)
    if name not in TOPICS:
        raise ConfigError(f"no topic {topic!r}; {topics.pipeline.name} has: {', '.join(TOPICS)}")
    found = (row for chunk in _chunks(topics, topics.topic(name), asked) for row in _rows(topics, name, chunk))
    return islice(found, asked.limit)


def _chunks(topics: PipelineTopics, topic: str, asked: Asked) -> Iterator[Chunk]:
    bounds = topics.log.bounds(topic)
    if asked.partition is not None and asked.partition not in bounds:
        raise ConfigError(
            f"{topic} has {len(bounds)} partitions, 0 to {len(bounds) - 1}: there is no {asked.partition}"
        )
    for partition, (first, end) in sorted(bounds.items()):
        if asked.partition not in (None, partition):
            continue
        tp = TopicPartition(topic, partition)
        if asked.last is not None:
            yield from _last(topics, tp, first, end, asked.last)
            continue
        if asked.start is not None and asked.partition is not None and not first <= asked.start < end:
            raise ConfigError(f"{tp} holds offsets {first} to {end - 1}, not {asked.start}")
        yield from read_range(topics.log, {tp: (max(first, asked.start or 0), end)}, min(asked.limit, 1_000))


def _last(topics: PipelineTopics, tp: TopicPartition, first: int, end: int, count: int) -> Iterator[Chunk]:
    """The last records of a partition; transaction markers and aborted records take offsets too."""
    back = count
    while True:
        chunks = list(read_range(topics.log, {tp: (max(first, end - back), end)}))
        if sum(map(len, chunks)) >= count or end - back <= first:
            break
        back *= 2
    surplus = max(0, sum(map(len, chunks)) - count)
    for chunk in chunks:
        if surplus < len(chunk):
            yield chunk.slice(surplus)
        surplus = max(0, surplus - len(chunk))


def _rows(topics: PipelineTopics, name: str, chunk: Chunk) -> Iterator[dict[str, Any]]:
    decoded = topics.codec(name).decode(chunk.values)
    values = _values(topics, name, chunk, decoded)
    for i, (offset, key) in enumerate(zip(chunk.offsets.tolist(), chunk.keys, strict=True)):
        at = {"partition": chunk.tp.partition, "offset": offset, "key": None if key is None else _text(key)}
        if i in values:
            yield {**at, "type": TOPICS[name].readable[decoded.kinds[i]], "value": _plain(values[i])}
            continue
        value = chunk.values[i]
        error = f"{Code(decoded.codes[i]).label}: {decoded.reasons[i]}"
        yield {**at, "error": error, "bytes": None if value is None else _hex(value)}


def _values(topics: PipelineTopics, name: str, chunk: Chunk, decoded: Decoded) -> dict[int, dict[str, Any]]:
    """Index in the chunk -> fields of the records that can be decoded."""
    found: dict[int, dict[str, Any]] = {}
    for kind, record in enumerate(TOPICS[name].readable):
        places = decoded.places(kind)
        if not len(places):
            continue
        if record in CONTROL_RECORDS:
            controls = topics.codec(name).decode_controls(chunk.values[places])
            pairs = zip(places.tolist(), controls, strict=True)
            found.update({i: r.model_dump() for i, r in pairs if isinstance(r, Record)})
        else:
            found.update(zip(places.tolist(), decoded.frame(kind).iter_rows(named=True), strict=True))
    return found


def _plain(value: Any) -> Any:
    """A value as JSON takes it: times as ISO 8601, bytes as hex."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bytes):
        return _hex(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _text(key: bytes) -> str:
    text = key.decode(errors="replace")
    return text if "\ufffd" not in text else key.hex()


def _hex(value: bytes) -> str:
    return value.hex() if len(value) <= LONGEST else f"{len(value)} bytes"
