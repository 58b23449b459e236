"""How records get from a client into columns and back: through Python's objects, or straight from librdkafka."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import is_
from typing import Any, NamedTuple, Protocol

import numpy as np
from confluent_kafka import Consumer, KafkaError, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from headrace.codec.column import BytesColumn
from headrace.errors import ConfigError
from headrace.log.base import Chunk, Output, TopicPartition

log = logging.getLogger("headrace.kafka")

SLICE = 50_000


class Other(NamedTuple):
    """What a client tells beside records: an error, or the end of a partition."""

    tp: TopicPartition | None
    offset: int
    error: KafkaError


class Fetched(NamedTuple):
    """Records, one chunk a partition, each in log order; and what came beside them."""

    chunks: list[Chunk]
    others: list[Other]


class Intake(Protocol):
    """Reads from one consumer."""

    def direct(self, tps: Sequence[TopicPartition]) -> None:
        """Told which partitions the consumer is about to be assigned, all of them."""

    def poll(self, limit: int, timeout: float) -> Fetched:
        """Up to ``limit`` records; waits for the first one only. Serves the consumer's callbacks."""

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        """Give nothing of these partitions until they are resumed."""

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        """Go on with these partitions where they were paused."""

    def close(self) -> None:
        """Called before the consumer is closed."""


class Outlet(Protocol):
    """Queues records with a producer."""

    def queue(self, producer: Producer, output: Output, full: Callable[[], object]) -> list[KafkaError]:
        """Queue records in order, calling ``full`` each time there is no room; gives the errors of those refused."""


class PythonIntake:
    """Reads through the client's own messages, an object each."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._only: TopicPartition | None = None

    def direct(self, tps: Sequence[TopicPartition]) -> None:
        self._only = tps[0] if len(tps) == 1 else None

    def poll(self, limit: int, timeout: float) -> Fetched:
        first = self._consumer.poll(timeout)
        if first is None:
            return Fetched([], [])
        messages = [first, *self._consumer.consume(limit - 1, 0)]
        errors = list(map(Message.error, messages))
        if all(map(is_, errors, repeat(None))):
            return Fetched(chunked(messages, self._only), [])
        pairs = list(zip(messages, errors, strict=True))
        records = [m for m, error in pairs if error is None]
        return Fetched(chunked(records, self._only), [other_of(m) for m, error in pairs if error is not None])

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        self._consumer.pause([KafkaPartition(*tp) for tp in tps])

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        self._consumer.resume([KafkaPartition(*tp) for tp in tps])

    def close(self) -> None:
        pass


class PythonOutlet:
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


@dataclass(frozen=True)
class Transport:
    """How records travel in this process.

    Attributes:
        name: ``native`` or ``python``.
        intake: makes what reads from a consumer.
        outlet: makes what queues records that nobody asks a report for.
    """

    name: str
    intake: Callable[[Consumer], Intake]
    outlet: Callable[[], Outlet]


PYTHON = Transport("python", PythonIntake, PythonOutlet)


def transport(wanted: str) -> Transport:
    """The transport a setting asks for: ``python``, ``native``, or ``auto``: native where it can be.

    Raises:
        ConfigError: native was asked for and cannot be had here.
    """
    if wanted == "python":
        return PYTHON
    from headrace.log.native.choice import native  # its kernels need not be loaded where it is not wanted

    found = native()
    if isinstance(found, Transport):
        return found
    if wanted == "native":
        raise ConfigError(f"transport = native cannot be had: {found}. Set it to auto or python")
    log.info("records travel through Python's objects: %s", found)
    return PYTHON


def columns(output: Output) -> tuple[BytesColumn, BytesColumn]:
    """Keys and values of records to write, as columns.

    Raises:
        ValueError: there are more of the one than of the other.
    """
    keys, values = BytesColumn.of(output.keys), BytesColumn.of(output.values)
    if len(keys) != len(values):
        raise ValueError(f"{len(keys)} keys for {len(values)} values")
    return keys, values


def other_of(message: Message) -> Other:
    """What a message with an error says."""
    topic, partition, error = message.topic(), message.partition(), message.error()
    if error is None:
        raise AssertionError(f"a record of {topic} came where only events do: report this")
    tp = None if topic is None or partition is None or partition < 0 else TopicPartition(topic, partition)
    return Other(tp, int(message.offset() or 0), error)


def chunked(messages: Sequence[Message], only: TopicPartition | None = None) -> list[Chunk]:
    """Sort messages into one chunk a partition, each in the order read.

    Args:
        messages: as consumed.
        only: the partition they all come from, where that is known.
    """
    if not messages:
        return []
    if only is not None:
        return [_chunk(only, messages)]
    by_partition: dict[tuple[str, int], list[Message]] = {}
    for m in messages:
        by_partition.setdefault((m.topic(), m.partition()), []).append(m)  # type: ignore[arg-type]
    return [_chunk(TopicPartition(*tp), found) for tp, found in by_partition.items()]


def _chunk(tp: TopicPartition, messages: Sequence[Message]) -> Chunk:
    first, last = messages[0].offset() or 0, messages[-1].offset() or 0
    if last - first == len(messages) - 1:
        offsets = np.arange(first, last + 1)
    else:
        offsets = np.array([m.offset() for m in messages], dtype=np.int64)
    keys, values = (BytesColumn.of(list(map(part, messages))) for part in (Message.key, Message.value))
    return Chunk(tp, offsets, keys, values)
