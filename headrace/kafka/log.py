"""The log as the platform sees it: what Kafka and its in-memory twin both offer, under one contract suite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

import numpy as np
from confluent_kafka import KafkaError, Message

from headrace.codec.column import BytesColumn
from headrace.errors import RecordsLost, Unavailable
from headrace.kafka.acl import Rule

LARGEST = 3_000_000
"""Bytes of the largest record that can be written, key and value together."""

Offsets = np.ndarray[tuple[int], np.dtype[np.int64]]
_Slice = slice


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one partition, in log order, as read.

    Attributes:
        tp: where they come from.
        offsets: int64 (n,), rising; markers of transactions and aborted records leave gaps.
        keys: n keys, some of them null perhaps.
        values: n values, some of them null perhaps.
        timestamps: int64 (n,), milliseconds since 1970 that Kafka keeps with each record: when its producer sent it,
            or when the broker took it where the topic says so; -1: it has none. None: they were not read.
    """

    tp: TopicPartition
    offsets: Offsets
    keys: BytesColumn
    values: BytesColumn
    timestamps: Offsets | None = None

    @classmethod
    def of(
        cls,
        tp: TopicPartition,
        offsets: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        timestamps: Sequence[int] | None = None,
    ) -> Chunk:
        """A chunk from plain sequences."""
        times = None if timestamps is None else np.array(timestamps, dtype=np.int64)
        return cls(tp, np.array(offsets, dtype=np.int64), BytesColumn.of(keys), BytesColumn.of(values), times)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def next_offset(self) -> int:
        """Offset to go on reading from after this chunk."""
        return int(self.offsets[-1]) + 1

    def slice(self, start: int, stop: int | None = None) -> Chunk:
        """The records from place ``start`` to before ``stop``."""
        return self.at(slice(start, stop))

    def rising(self, start: int) -> Chunk:
        """The records from offset ``start`` on, each past all before it: without what a client brought again."""
        new = self.offsets > np.maximum.accumulate(np.concatenate([[start - 1], self.offsets[:-1]]))
        if new.all():
            return self
        return self.at(np.flatnonzero(new))

    def at(self, places: Offsets | _Slice) -> Chunk:
        """The records at these places, in their order."""
        times = None if self.timestamps is None else self.timestamps[places]
        return Chunk(self.tp, self.offsets[places], self.keys[places], self.values[places], times)

    def followed_by(self, later: Chunk) -> Chunk:
        """These records, then those of ``later``, of the same partition."""
        offsets = np.concatenate([self.offsets, later.offsets])
        keys, values = (BytesColumn.concat(c) for c in ((self.keys, later.keys), (self.values, later.values)))
        if self.timestamps is None or later.timestamps is None:
            return Chunk(self.tp, offsets, keys, values)
        return Chunk(self.tp, offsets, keys, values, np.concatenate([self.timestamps, later.timestamps]))


@dataclass(frozen=True, slots=True)
class Output:
    """Records to write to one partition, in order. On the hot path keys and values are columns.

    ``codes`` says of dead letters how many there are of each code, for those who count them.
    """

    tp: TopicPartition
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    codes: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)


class Position(NamedTuple):
    """A committed position in a partition.

    ``rebuild_from`` and ``topic_id`` ride in the commit's metadata: the offset from which the state that held at
    ``offset`` can be rebuilt, and which topic of that name it was (empty: not known).
    """

    offset: int
    rebuild_from: int
    topic_id: str = ""

    @property
    def metadata(self) -> str:
        """What goes into the commit beside the offset."""
        return f"{self.rebuild_from} {self.topic_id}".strip()

    @classmethod
    def parse(cls, offset: int, metadata: str) -> Position:
        """From a commit. Someone else's tool may have made it, and left other metadata or none."""
        start, _, topic_id = metadata.partition(" ")
        return cls(offset, int(start), topic_id) if start.isdecimal() else cls(offset, offset)


class Reader(Protocol):
    """Reads partitions without a group, from given offsets on, records with their timestamps."""

    def poll(self, limit: int, timeout: float) -> list[Chunk]:
        """Up to ``limit`` records, waiting up to ``timeout`` seconds for the first.

        Raises:
            RecordsLost: Kafka has dropped records that were to be read next.
            Unavailable: a partition ends before what was to be read next.
        """

    def reached(self, tp: TopicPartition) -> int:
        """Offset up to which the partition has been read, gaps at the end included."""

    def close(self) -> None: ...


class RebalanceListener(Protocol):
    """Told of changes from inside ``poll``, before the partitions change hands."""

    def on_revoked(self, tps: Sequence[TopicPartition]) -> None:
        """The partitions are about to go: end the open transaction before returning."""

    def on_lost(self, tps: Sequence[TopicPartition]) -> None:
        """The partitions have gone already: abort, commit nothing."""

    def on_assigned(self, tps: Sequence[TopicPartition]) -> None:
        """The partitions are this member's now; they are paused until the loop resumes them."""


class GroupReader(Protocol):
    """A member of a consumer group: range assignor, eager, read_committed, no automatic commits."""

    def poll(self, limit: int, timeout: float) -> list[Chunk]:
        """Up to ``limit`` records of the partitions that are not paused. Calls the listener on a rebalance.

        Raises:
            OffsetGone: a partition does not have the record that was to come next. Go on from a :meth:`rewind`.
        """

    def committed(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, Position]:
        """Committed positions of those that have one.

        Raises:
            Unavailable: the broker is away, or an open transaction is about to move one of them.
        """

    def ends(self) -> dict[TopicPartition, int]:
        """The ends of the partitions assigned, as the broker told them with the last records; asks nobody."""

    def reached(self) -> dict[TopicPartition, int]:
        """Where nothing was left to read, when that was last so: an offset past markers of transactions too."""

    def rewind(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Go on from these offsets with the partitions assigned, all of which must be named; they stay paused."""

    def pause(self, tps: Sequence[TopicPartition]) -> None: ...

    def resume(self, tps: Sequence[TopicPartition]) -> None: ...

    def close(self) -> None:
        """Leave the group. Calls the listener's ``on_revoked`` first."""


class Writer(Protocol):
    """A transactional producer. One transaction is open at a time.

    Raises (all methods): Fenced when another writer took the transactional id or the group moved on;
    TransactionAborted when the transaction is lost but the writer can go on after ``abort``.
    """

    def begin(self) -> None: ...

    def write(self, output: Output) -> None:
        """Hand over records; waits while the client's queue is full.

        Raises:
            HeadraceError: a record is over LARGEST; the transaction can only be aborted.
        """

    def write_and_wait(self, outputs: Sequence[Output]) -> list[list[int]]:
        """Write, wait for the broker and give the offset of every record."""

    def send_offsets(self, positions: Mapping[TopicPartition, Position], group: GroupReader) -> None:
        """Commit input positions of ``group`` with the open transaction."""

    def commit(self) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


OnDelivery = Callable[[KafkaError | None, Message], None]
"""Told of one record: why it was not delivered, or None, and the record with its partition, offset and timestamp."""
Headers = Mapping[str, str | bytes | None] | Sequence[tuple[str, str | bytes | None]]
FULL_S = 60.0
"""Seconds that a send waits while the client's queue is full."""


class Sender(Protocol):
    """An idempotent producer outside any transaction: how events enter the log. Safe to share between threads."""

    def send(
        self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None], *, wait: float = FULL_S
    ) -> None:
        """Hand over records; the key's murmur2 hash picks the partition, as Kafka's own clients do.

        Raises:
            HeadraceError: a record is over LARGEST, or the sender is closed.
            Unavailable: the client's queue was full for ``wait`` seconds; the message says how many were handed over.
        """

    def offer(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Headers | None = None,
        timestamp: int = 0,
        on_delivery: OnDelivery | None = None,
    ) -> bool:
        """Hand over one record, if there is room for it now; never waits.

        Args:
            topic: where to.
            key: picks the partition; None: any.
            value: the record.
            headers: names and values, which are bytes, text or null.
            timestamp: milliseconds since the epoch; 0: now.
            on_delivery: called once, from a thread of the sender's, when the record is delivered or given up. Without
                one, a record given up is told by the next :meth:`flush`.

        Returns:
            Whether it was taken; False: the client's queue is full.

        Raises:
            HeadraceError: the record is over LARGEST, or the sender is closed.
        """

    def wait_for_room(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the broker to take something."""

    def flush(self, timeout: float = 60.0) -> None:
        """Wait up to ``timeout`` seconds until the broker has everything, and those told of it have been told.

        Raises:
            Unavailable: records could not be delivered in time; the message says how many.
        """

    def close(self, timeout: float = 60.0) -> None:
        """Take no more records, then flush; again does nothing. Raises what :meth:`flush` does."""


class PolledSender(Protocol):
    """A sender for an event loop: used by one thread, which takes the reports itself. It never gives up a record that
    it has taken because Kafka is away."""

    def offer(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, on_delivery: OnDelivery
    ) -> bool:
        """Hand over one record; see :meth:`Sender.offer`. ``on_delivery`` is called from inside :meth:`poll`."""

    def poll(self) -> int:
        """Call those who are to be told by now; never waits."""

    def close(self, timeout: float) -> int:
        """Wait up to ``timeout`` seconds for Kafka to have everything; gives how many records it does not have."""


class Headed(NamedTuple):
    """A record with a header that was looked for: where it stands, its value, and the header's."""

    tp: TopicPartition
    offset: int
    timestamp: int
    value: bytes | None
    header: bytes


class Log(Protocol):
    """A Kafka cluster, or its twin."""

    def create_topics(self, topics: Mapping[str, tuple[int, Mapping[str, str]]]) -> list[str]:
        """Create the topics that are missing (name -> partitions, properties); give the names created."""

    def add_partitions(self, topic: str, count: int) -> None:
        """Raise a topic's partitions to ``count``."""

    def partitions(self, topic: str) -> int:
        """Number of partitions; ConfigError when there is no such topic."""

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """Partition -> first offset, and last stable offset: what a read_committed reader can reach."""

    def high_watermarks(self, topic: str) -> dict[int, int]:
        """Partition -> end of the log, records of open transactions included."""

    def offsets_at(self, topic: str, when: datetime) -> dict[int, int]:
        """Partition -> first offset whose record came at or after a time; the end where none did."""

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Topic -> the id that Kafka gave it when it was made; ConfigError when there is no such topic."""

    def retention(self, topic: str) -> timedelta | None:
        """How long the topic keeps a record at least before it may be dropped for its age; None: it never is."""

    def keep_for(self, topic: str, span: timedelta) -> None:
        """Set how long the topic keeps a record at least."""

    def members(self, group: str) -> set[str]:
        """Names of the group's live members."""

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """Committed offsets of a group, wherever it has any."""

    def positions(self, group: str) -> dict[TopicPartition, Position]:
        """Committed positions of a group, wherever it has any."""

    def grant(self, rules: Sequence[Rule]) -> None:
        """Set ACLs; those that are there already stay."""

    def carry_ids(self, topics: Iterable[str]) -> None:
        """Say of which topics records may carry their schema id in a header: it is put before their values when they
        are read (:mod:`headrace.codec.framing`)."""

    def reader(self, starts: Mapping[TopicPartition, int], *, committed: bool = True) -> Reader:
        """Reads from these offsets on. Not ``committed``: records of open and aborted transactions too."""

    def group(
        self, name: str, topics: Sequence[str], member: str, listener: RebalanceListener, *, timed: bool = False
    ) -> GroupReader:
        """A member of a group; its chunks have timestamps where it is ``timed``, which costs a call a record."""

    def writer(self, transactional_id: str, *, tracks: bool = True) -> Writer:
        """A transactional producer, ready: earlier ones with the same id are fenced.

        One that does not track refuses ``write_and_wait`` and is spared a report for each record: that a record was
        lost shows in the commit, which fails.
        """

    def sender(self, name: str) -> Sender: ...

    def polled_sender(self, name: str) -> PolledSender: ...

    def headed(self, topic: str, header: str, since: datetime) -> Iterator[Headed]:
        """The records that have a header and came at or after a time, those of open transactions too, up to the ends
        that the partitions have now.

        Raises:
            Unavailable: the broker is away.
        """


def not_there(tp: TopicPartition, at: int, first: int, end: int) -> RecordsLost | Unavailable:
    """Why the record at an offset cannot be read from a partition that reaches from ``first`` to before ``end``."""
    if at < first:
        return RecordsLost(f"{tp}: offsets {at} to {first - 1} are gone: Kafka dropped them before they were read")
    return Unavailable(
        f"{tp} ends at offset {end}, and it was read up to {at} before: its broker is not yet back whole, "
        "or the topic was made anew"
    )


def kept_for(properties: Mapping[str, str]) -> timedelta | None:
    """How long a topic of these Kafka properties keeps a record; None: it drops none for its age."""
    kept = int(properties.get("retention.ms", -1))
    if kept < 0 or "delete" not in properties.get("cleanup.policy", "delete"):
        return None
    return timedelta(milliseconds=min(kept, _EVER_MS))


_EVER_MS = 1_000 * 365 * 24 * 3_600_000
"""A thousand years: longer ones are no timedelta."""


def read_range(
    log: Log,
    ranges: Mapping[TopicPartition, tuple[int, int]],
    limit: int = 20_000,
    *,
    settled: bool = False,
    whole: bool = False,
) -> Iterator[Chunk]:
    """Every committed record in the offset ranges (start, stop), partition by partition in turn, then end.

    A range that reaches past the partition's last stable offset ends there; with ``settled``, at its high watermark:
    transactions open now are waited for.

    Raises:
        Unavailable: with ``whole``, a partition ends before its range does.
    """
    for tp, (start, wanted) in ranges.items():
        first, end = log.bounds(tp.topic)[tp.partition]
        if settled:
            end = log.high_watermarks(tp.topic)[tp.partition]
        if whole and end < wanted:
            raise not_there(tp, wanted, first, end)
        start, stop = max(start, first), min(wanted, end)
        if start < stop:
            yield from _read_one(log, tp, start, stop, limit)


def read_all(log: Log, topic: str, limit: int = 20_000, *, settled: bool = False) -> Iterator[Chunk]:
    """Every committed record of a topic up to its last stable offsets now.

    With ``settled``, up to its high watermarks: transactions open now are waited for.
    """
    bounds = log.bounds(topic)
    ends = log.high_watermarks(topic) if settled else {p: end for p, (_, end) in bounds.items()}
    for partition, (start, _) in sorted(bounds.items()):
        if start < ends[partition]:
            yield from _read_one(log, TopicPartition(topic, partition), start, ends[partition], limit)


READ_S = 0.03
"""Seconds to gather a batch when reading a range: short, as the client waits them out at the end of each."""


def _read_one(log: Log, tp: TopicPartition, start: int, stop: int, limit: int) -> Iterator[Chunk]:
    reader = log.reader({tp: start})
    try:
        while True:
            for chunk in reader.poll(limit, READ_S):
                inside = int(np.searchsorted(chunk.offsets, stop))
                if inside:
                    yield chunk.slice(0, inside) if inside < len(chunk) else chunk
                if inside < len(chunk):
                    return
            if reader.reached(tp) >= stop:
                return
    finally:
        reader.close()
