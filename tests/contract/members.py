"""What the contract's tests share: group members, transactions, and what then stands on a topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from confluent_kafka import TopicPartition as KafkaPartition

from headrace.config import Settings
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Chunk, Log, Output, TopicPartition, Writer, read_all
from headrace.kafka.memory import MemoryLog
from headrace.kafka.native.choice import native
from tests.waiting import wait_for

Unique = Callable[[str], str]
TRANSPORTS = ("python",) if isinstance(native(), str) else ("native", "python")
both = pytest.mark.parametrize(
    "log", ["memory", *(pytest.param(name, marks=pytest.mark.kafka) for name in TRANSPORTS)], indirect=True
)


class Member:
    """A group member that notes what it is told and what it reads; resumes nothing by itself."""

    def __init__(self, log: Log, group: str, topics: Sequence[str], name: str, *, timed: bool = False) -> None:
        self.events: list[str] = []
        self.assigned: set[TopicPartition] = set()
        self.read: list[tuple[TopicPartition, int]] = []
        self.before_revoked: Callable[[], None] = lambda: None
        self.reader = log.group(group, topics, name, self, timed=timed)

    def on_assigned(self, tps: Sequence[TopicPartition]) -> None:
        self.events.append("assigned")
        self.assigned = set(tps)

    def on_revoked(self, tps: Sequence[TopicPartition]) -> None:
        self.events.append("revoked")
        assert set(tps) == self.assigned
        self.before_revoked()
        self.assigned = set()

    def on_lost(self, tps: Sequence[TopicPartition]) -> None:
        self.events.append("lost")
        self.assigned = set()

    def start(self) -> None:
        """Stand at what is committed, or at the beginning; still paused."""
        committed = self.reader.committed(sorted(self.assigned))
        self.reader.rewind({tp: committed[tp].offset if tp in committed else 0 for tp in self.assigned})

    def poll(self) -> None:
        for chunk in self.reader.poll(1000, 0.005):
            self.read += [(chunk.tp, offset) for offset in chunk.offsets.tolist()]


def turns(*members: Member) -> Callable[[Callable[[], bool], str], None]:
    """Poll all the members in turn until a condition holds."""

    def until(condition: Callable[[], bool], what: str) -> None:
        def turn() -> bool:
            for member in members:
                member.poll()
            return condition()

        wait_for(turn, 20, what)

    return until


Join = Callable[[str, Sequence[str], str], Member]


def kafka_log(settings: Settings, transport: str) -> KafkaLog:
    return KafkaLog(settings.model_copy(update={"transport": transport}), "contract")


def topic(log: Log, name: str, partitions: int = 1) -> str:
    assert log.create_topics({name: (partitions, {})}) == [name]
    return name


def output(topic: str, values: Sequence[bytes], partition: int = 0) -> Output:
    return Output(TopicPartition(topic, partition), [None] * len(values), values)


def numbers(start: int, stop: int) -> list[bytes]:
    return [str(i).encode() for i in range(start, stop)]


def whole(log: Log, name: str) -> list[Chunk]:
    """Everything on a topic, one chunk a partition."""
    found: dict[TopicPartition, Chunk] = {}
    for chunk in read_all(log, name, settled=True):
        found[chunk.tp] = found[chunk.tp].followed_by(chunk) if chunk.tp in found else chunk
    return list(found.values())


def drop_before(log: Log, tp: TopicPartition, offset: int) -> None:
    """Let a partition begin at an offset, as retention does."""
    if isinstance(log, MemoryLog):
        log.drop_before(tp, offset)
    else:
        assert isinstance(log, KafkaLog)
        for future in log._admin.delete_records([KafkaPartition(tp.topic, tp.partition, offset)]).values():
            future.result(20)


def delete_topic(log: Log, name: str) -> None:
    """Delete a topic, and wait until it is gone."""
    if isinstance(log, MemoryLog):
        log.delete_topic(name)
        return
    assert isinstance(log, KafkaLog)
    for future in log._admin.delete_topics([name]).values():
        future.result(20)
    wait_for(lambda: name not in log._admin.list_topics(timeout=10).topics, 20, "the topic is gone")


def commit(writer: Writer, *outputs: Output) -> list[list[int]]:
    writer.begin()
    offsets = writer.write_and_wait(outputs)
    writer.commit()
    return offsets


def abort(writer: Writer, *outputs: Output) -> None:
    """Write records that reach the broker, and take them back."""
    writer.begin()
    writer.write_and_wait(outputs)
    writer.abort()


def content(log: Log, topic: str) -> list[tuple[int, int, bytes | None]]:
    """Every committed record: partition, offset, value."""
    return [
        (chunk.tp.partition, offset, value)
        for chunk in read_all(log, topic, settled=True)
        for offset, value in zip(chunk.offsets.tolist(), chunk.values, strict=True)
    ]


def values(log: Log, topic: str) -> list[bytes | None]:
    return [value for _, _, value in content(log, topic)]


def settled(log: Log, topic: str) -> None:
    """Wait for the markers of ended transactions: a broker writes them just after it has answered a commit."""
    wait_for(
        lambda: {p: end for p, (_, end) in log.bounds(topic).items()} == log.high_watermarks(topic),
        5,
        f"no transaction is open on {topic}",
    )
