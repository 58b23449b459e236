"""How records get from a client into columns and back: the protocol of a transport."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from confluent_kafka import Consumer, KafkaError, Message, Producer

from headrace.codec.column import BytesColumn
from headrace.kafka.log import Chunk, Output, TopicPartition


class ClientEvent(NamedTuple):
    """What a client tells beside records: an error, or the end of a partition."""

    tp: TopicPartition | None
    offset: int
    error: KafkaError


class Fetched(NamedTuple):
    """Records, one chunk a partition, each in log order; and what came beside them."""

    chunks: list[Chunk]
    events: list[ClientEvent]


class Fetcher(Protocol):
    """Reads from one consumer."""

    def carry_ids(self, topics: Collection[str]) -> None:
        """Told of which topics records may carry their schema id in a header: it is put before their values."""

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


class BatchWriter(Protocol):
    """Queues records with a producer."""

    def queue(self, producer: Producer, output: Output, full: Callable[[], object]) -> list[KafkaError]:
        """Queue records in order, calling ``full`` each time there is no room; gives the errors of those refused."""


@dataclass(frozen=True)
class Transport:
    """How records travel in this process.

    Attributes:
        name: ``native`` or ``python``.
        fetcher: makes what reads from a consumer, with the records' timestamps or without.
        batch_writer: makes what queues records that nobody asks a report for.
    """

    name: str
    fetcher: Callable[[Consumer, bool], Fetcher]
    batch_writer: Callable[[], BatchWriter]


def columns(output: Output) -> tuple[BytesColumn, BytesColumn]:
    """Keys and values of records to write, as columns.

    Raises:
        ValueError: there are more of the one than of the other.
    """
    keys, values = BytesColumn.of(output.keys), BytesColumn.of(output.values)
    if len(keys) != len(values):
        raise ValueError(f"{len(keys)} keys for {len(values)} values")
    return keys, values


def event_of(message: Message) -> ClientEvent:
    """What a message with an error says."""
    topic, partition, error = message.topic(), message.partition(), message.error()
    if error is None:
        raise AssertionError(f"a record of {topic} came where only events do: report this")
    tp = None if topic is None or partition is None or partition < 0 else TopicPartition(topic, partition)
    return ClientEvent(tp, int(message.offset() or 0), error)
