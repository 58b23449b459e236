"""Reading from a real Kafka: partitions by assignment, and as a member of a group."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from headrace.errors import OffsetGone, RecordsLost, Unavailable
from headrace.kafka.acl import READER_GROUP
from headrace.kafka.client import client
from headrace.kafka.client_errors import Door
from headrace.kafka.log import Chunk, Position, RebalanceListener, TopicPartition, not_there
from headrace.kafka.transport import ClientEvent, Transport

log = logging.getLogger("headrace.kafka.reader")

BOUNDS_S = 10.0
REJOIN_S = 60.0
"""Seconds without an answer of its group after which a member joins it anew."""
COMMITTED_S = 30.0
"""Longer than a transaction may stay open: a dead worker's pending commit holds the answer back that long."""

NOTHING_COMMITTED = "no previously committed offset"
"""How librdkafka says that a group has not committed anything of a partition."""

CONSUMER = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    # Where a record is gone, jumping over it would lose it in silence.
    "auto.offset.reset": "error",
    "partition.assignment.strategy": "range",
    "fetch.queue.backoff.ms": 1,
    "fetch.wait.max.ms": 50,
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 32_768,
    "max.partition.fetch.bytes": 2_097_152,
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 300,
    # Halving a batch down to a record on which a user's function hangs takes minutes.
    "max.poll.interval.ms": 900_000,
}


class KafkaReader:
    """Reads partitions by assignment, without a group."""

    def __init__(
        self,
        common: Mapping[str, Any],
        starts: Mapping[TopicPartition, int],
        transport: Transport,
        *,
        committed: bool = True,
        carrying: Collection[str] = (),
    ) -> None:
        conf = {**CONSUMER, **common, "group.id": READER_GROUP}
        if not committed:
            conf["isolation.level"] = "read_uncommitted"
        self._consumer = client(Consumer, conf)
        self._reached = dict(starts)
        self._door = Door()
        self._fetcher = transport.fetcher(self._consumer, True)
        self._fetcher.carry_ids(carrying)
        self._fetcher.direct(list(starts))
        self._consumer.assign([KafkaPartition(tp.topic, tp.partition, at) for tp, at in starts.items()])

    def poll(self, limit: int, timeout: float) -> list[Chunk]:
        fetched = self._fetcher.poll(limit, timeout)
        for chunk in fetched.chunks:
            self._reached[chunk.tp] = max(self._reached[chunk.tp], chunk.next_offset)
        for other in fetched.events:
            if other.tp is not None and other.error.code() == KafkaError._PARTITION_EOF:
                self._reached[other.tp] = max(self._reached[other.tp], other.offset)
            elif other.tp is not None and other.error.code() == KafkaError._AUTO_OFFSET_RESET:
                raise self._gone(other.tp, self._reached[other.tp])
            else:
                self._door.passing(other.error)
        if fetched.chunks:
            self._door.open()
        return fetched.chunks

    def reached(self, tp: TopicPartition) -> int:
        return self._reached[tp]

    def close(self) -> None:
        self._fetcher.close()
        self._consumer.close()

    def _gone(self, tp: TopicPartition, at: int) -> RecordsLost | Unavailable:
        try:
            bounds = self._consumer.get_watermark_offsets(KafkaPartition(*tp), timeout=BOUNDS_S)
        except KafkaException as e:
            return Unavailable(f"{tp}: Kafka does not tell how far it reaches: {e.args[0].str()}")
        return not_there(tp, at, *(bounds or (0, 0)))


class KafkaGroupReader:
    """A group member: eager range assignor, committed offsets with metadata, partitions paused when they come."""

    def __init__(
        self,
        conf: Mapping[str, Any],
        topics: Sequence[str],
        listener: RebalanceListener,
        transport: Transport,
        *,
        timed: bool = False,
        carrying: Collection[str] = (),
    ) -> None:
        self._consumer = client(Consumer, {**CONSUMER, **conf})
        self._listener = listener
        self._reached: dict[TopicPartition, int] = {}
        self._door = Door()
        self._rewound = False
        self._fetcher = transport.fetcher(self._consumer, timed)
        self._fetcher.carry_ids(carrying)
        self.metadata: object | None = None
        """Who this member was when it got its partitions; what it commits, it commits as that."""
        self._topics = list(topics)
        self._unanswered: float | None = None
        self._closing = False
        self._join()

    def _join(self) -> None:
        self._unanswered = time.monotonic()
        self._consumer.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def _join_anew(self) -> None:
        """Leave and join again where the group has not answered for long: seen after a broker was killed, when a
        coordinator went on waiting for a member that was gone."""
        if self._unanswered is not None and time.monotonic() - self._unanswered > REJOIN_S:
            log.warning("no partitions were given to this member for %.0f s: it joins its group anew", REJOIN_S)
            self._consumer.unsubscribe()
            self._join()

    def poll(self, limit: int, timeout: float) -> list[Chunk]:
        self._join_anew()
        fetched = self._fetcher.poll(limit, timeout)
        for other in fetched.events:
            if other.error.code() == KafkaError._PARTITION_EOF and other.tp is not None:
                self._reached[other.tp] = other.offset
                continue
            if other.error.code() == KafkaError._AUTO_OFFSET_RESET and not self._by_itself(other):
                raise OffsetGone(f"{other.tp}: {other.error.str()}")
            if other.error.code() != KafkaError._AUTO_OFFSET_RESET:
                self._door.passing(other.error)
        if fetched.chunks:
            self._door.open()
        return fetched.chunks

    def _by_itself(self, told: ClientEvent) -> bool:
        """Whether a client tells of where it would have begun by itself, before it was told where."""
        return not self._rewound or NOTHING_COMMITTED in told.error.str()

    def committed(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, Position]:
        asked = [KafkaPartition(tp.topic, tp.partition) for tp in tps]
        try:
            answer = self._consumer.committed(asked, timeout=COMMITTED_S)
        except KafkaException as e:
            raise Unavailable(f"Kafka gives no committed offsets: {e.args[0].str()}") from e
        for p in answer:
            if p.error is not None:
                raise Unavailable(f"Kafka gives no committed offset of {p.topic}[{p.partition}]: {p.error.str()}")
        return positions(answer)

    def ends(self) -> dict[TopicPartition, int]:
        found = {}
        for part in self._consumer.assignment():
            heard = self._consumer.get_watermark_offsets(part, cached=True)
            if heard is not None and heard[1] >= 0:
                found[TopicPartition(part.topic, part.partition)] = heard[1]
        return found

    def reached(self) -> dict[TopicPartition, int]:
        return dict(self._reached)

    def rewind(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._reached.clear()
        self._rewound = True
        # Not seek: it is refused for a partition whose fetching has not begun.
        parts = [KafkaPartition(tp.topic, tp.partition, at) for tp, at in offsets.items()]
        self._consumer.assign(parts)
        self._fetcher.pause(list(offsets))

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        self._fetcher.pause(tps)

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        self._fetcher.resume(tps)

    def close(self) -> None:
        self._closing = True
        self._fetcher.close()
        self._consumer.close()

    def _assigned(self, consumer: Consumer, parts: list[KafkaPartition]) -> None:
        # Nothing here may wait or fail: where this raises, the client goes on with the partitions unpaused.
        if self._closing:
            return  # a member that leaves may still be given its share, and does nothing with it
        tps = named(parts)
        self._rewound = False
        self._fetcher.direct(tps)
        consumer.assign(parts)
        self._fetcher.pause(tps)
        self.metadata = consumer.consumer_group_metadata()
        self._door.open()
        self._unanswered = None
        self._listener.on_assigned(tps)

    def _revoked(self, consumer: Consumer, parts: list[KafkaPartition]) -> None:
        self._unanswered = time.monotonic()
        self._listener.on_revoked(named(parts))

    def _lost(self, consumer: Consumer, parts: list[KafkaPartition]) -> None:
        self._unanswered = time.monotonic()
        self._listener.on_lost(named(parts))


def positions(committed: Sequence[KafkaPartition]) -> dict[TopicPartition, Position]:
    """The platform's form of what a client tells of committed offsets, of those that there are."""
    return {
        TopicPartition(p.topic, p.partition): Position.parse(p.offset, p.metadata or "")
        for p in committed
        if p.offset >= 0
    }


def named(parts: Sequence[KafkaPartition]) -> list[TopicPartition]:
    """The platform's names of the client's partitions."""
    return [TopicPartition(p.topic, p.partition) for p in parts]
