"""The transport through Python's objects: one message, one object. Several times slower than the native one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from operator import is_
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from headrace.codec.column import BytesColumn
from headrace.codec.framing import ID_HEADER, LONGEST_ID, with_ids
from headrace.kafka.log import Chunk, Output, TopicPartition
from headrace.kafka.transport import Fetched, Transport, columns, event_of

SLICE = 50_000
"""Messages handed to the client in one call."""


class PythonFetcher:
    """Reads through the client's own messages, an object each."""

    def __init__(self, consumer: Consumer, timed: bool) -> None:
        self._consumer = consumer
        self._timed = timed
        self._carrying: Collection[str] = ()
        self._only: TopicPartition | None = None

    def carry_ids(self, topics: Collection[str]) -> None:
        self._carrying = topics

    def direct(self, tps: Sequence[TopicPartition]) -> None:
        self._only = tps[0] if len(tps) == 1 else None

    def poll(self, limit: int, timeout: float) -> Fetched:
        first = self._consumer.poll(timeout)
        if first is None:
            return Fetched([], [])
        messages = [first, *self._consumer.consume(limit - 1, 0)]
        errors = list(map(Message.error, messages))
        if all(map(is_, errors, repeat(None))):
            return Fetched(self._framed(messages, chunked(messages, self._only, timed=self._timed)), [])
        pairs = list(zip(messages, errors, strict=True))
        records = [m for m, error in pairs if error is None]
        chunks = self._framed(records, chunked(records, self._only, timed=self._timed))
        return Fetched(chunks, [event_of(m) for m, error in pairs if error is not None])

    def _framed(self, messages: Sequence[Message], chunks: list[Chunk]) -> list[Chunk]:
        """The chunks with the ids that records carry in a header before their values."""
        if not any(chunk.tp.topic in self._carrying for chunk in chunks):
            return chunks
        ids: dict[tuple[TopicPartition, int], bytes] = {}
        for m in messages:
            if (found := _id_of(m)) and m.topic() in self._carrying:
                ids[TopicPartition(str(m.topic()), int(m.partition() or 0)), int(m.offset() or 0)] = found
        return [_with_ids(chunk, ids) for chunk in chunks] if ids else chunks

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        self._consumer.pause([KafkaPartition(*tp) for tp in tps])

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        self._consumer.resume([KafkaPartition(*tp) for tp in tps])

    def close(self) -> None:
        pass


class PythonBatchWriter:
    """Queues through the client's dicts, one each, used again and again.

    Args:
        on_delivery: called for each message, where given.
        partition: whether messages go to the partition named; otherwise their keys pick one.
    """

    def __init__(
        self, on_delivery: Callable[[KafkaError | None, Message], None] | None = None, *, partition: bool = True
    ) -> None:
        self._slots: list[dict[str, Any]] = []
        self._given: dict[str, Any] = {} if on_delivery is None else {"on_delivery": on_delivery}
        self._partition = partition

    def queue(self, producer: Producer, output: Output, full: Callable[[], object]) -> list[KafkaError]:
        key_column, value_column = columns(output)
        given = self._given | ({"partition": output.tp.partition} if self._partition else {})
        errors: list[KafkaError] = []
        for start in range(0, len(value_column), SLICE):
            part = slice(start, start + SLICE)
            slots = self._filled(key_column[part], value_column[part])
            while slots and producer.produce_batch(output.tp.topic, slots, **given) < len(slots):
                refused = [(m, m.pop("_error")) for m in slots if "_error" in m]
                # A full queue refuses all that follows; an error of a record's own, that one alone.
                slots = [m for m, error in refused if error.code() == KafkaError._QUEUE_FULL]
                errors += [error for _, error in refused if error.code() != KafkaError._QUEUE_FULL]
                if slots:
                    full()
        return errors

    def _filled(self, keys: BytesColumn, values: BytesColumn) -> list[dict[str, Any]]:
        self._slots += [{} for _ in range(len(values) - len(self._slots))]
        keys.into(self._slots, "key")
        values.into(self._slots, "value")
        return self._slots[: len(values)]


def _id_of(message: Message) -> bytes:
    """What a record carries in the header of schema ids, "" where it has none."""
    found = next((value for name, value in reversed(message.headers() or []) if name == ID_HEADER), None)
    return found if isinstance(found, bytes) and len(found) <= LONGEST_ID else b""


def _with_ids(chunk: Chunk, ids: Mapping[tuple[TopicPartition, int], bytes]) -> Chunk:
    mine = BytesColumn.of([ids.get((chunk.tp, offset), b"") for offset in chunk.offsets.tolist()])
    return replace(chunk, values=with_ids(chunk.values, mine))


def chunked(messages: Sequence[Message], only: TopicPartition | None = None, *, timed: bool = False) -> list[Chunk]:
    """Sort messages into one chunk a partition, each in the order read.

    Args:
        messages: as consumed.
        only: the partition they all come from, where that is known.
        timed: whether chunks get the records' timestamps.
    """
    if not messages:
        return []
    if only is not None:
        return [_chunk(only, messages, timed)]
    by_partition: dict[tuple[str, int], list[Message]] = {}
    for m in messages:
        by_partition.setdefault((m.topic(), m.partition()), []).append(m)  # type: ignore[arg-type]
    return [_chunk(TopicPartition(*tp), found, timed) for tp, found in by_partition.items()]


def _chunk(tp: TopicPartition, messages: Sequence[Message], timed: bool) -> Chunk:
    first, last = messages[0].offset() or 0, messages[-1].offset() or 0
    if last - first == len(messages) - 1:
        offsets = np.arange(first, last + 1)
    else:
        offsets = np.array([m.offset() for m in messages], dtype=np.int64)
    keys, values = (BytesColumn.of(list(map(part, messages))) for part in (Message.key, Message.value))
    times = np.array([m.timestamp()[1] for m in messages], dtype=np.int64) if timed else None
    return Chunk(tp, offsets, keys, values, times)


PYTHON = Transport("python", PythonFetcher, PythonBatchWriter)
