"""The in-memory twin of Kafka: transactions, offset gaps, read_committed, groups with eager rebalances, fencing.

It exists to test pure logic fast and is held to the contract suite that the real one passes. It keeps no
data beyond the process and is never a substitute for Kafka where exactly-once is to be shown.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Literal

from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, Message

from headrace.errors import ConfigError, Fenced, HeadraceError, OffsetGone, TransactionAborted, Unavailable
from headrace.kafka.acl import Rule
from headrace.kafka.log import (
    FULL_S,
    LARGEST,
    Chunk,
    GroupReader,
    Headed,
    Headers,
    OnDelivery,
    Output,
    Position,
    RebalanceListener,
    TopicPartition,
    kept_for,
    not_there,
)
from headrace.kafka.partitioner import partition_of
from headrace.kafka.reports import Reports, closed

_MS = timedelta(milliseconds=1)


@dataclass(slots=True)
class _Entry:
    key: bytes | None
    value: bytes | None
    transaction: _Transaction | None
    control: bool = False
    at: float = field(default_factory=time.time)
    headers: tuple[tuple[str, str | bytes | None], ...] = ()

    @property
    def visible(self) -> bool:
        return not self.control and (self.transaction is None or self.transaction.state == "committed")


@dataclass(slots=True)
class _Transaction:
    state: Literal["open", "committed", "aborted"] = "open"
    touched: set[TopicPartition] = field(default_factory=set)
    positions: dict[str, dict[TopicPartition, Position]] = field(default_factory=dict)


@dataclass(slots=True)
class _Group:
    committed: dict[TopicPartition, Position] = field(default_factory=dict)
    members: list[MemoryGroupReader] = field(default_factory=list)
    generation: int = 0

    def changed(self) -> None:
        self.generation += 1


class MemoryLog:
    """A cluster in memory. Safe to use from several threads."""

    def __init__(self) -> None:
        self.lock = threading.Condition(threading.RLock())
        self.entries: dict[TopicPartition, list[_Entry]] = {}
        self.properties: dict[str, Mapping[str, str]] = {}
        self.firsts: dict[TopicPartition, int] = {}
        self.groups: dict[str, _Group] = {}
        self.epochs: dict[str, MemoryWriter] = {}
        self.ids: dict[str, str] = {}
        self._made = count()

    def create_topics(self, topics: Mapping[str, tuple[int, Mapping[str, str]]]) -> list[str]:
        with self.lock:
            new = [t for t in topics if TopicPartition(t, 0) not in self.entries]
            for name in new:
                self.ids[name] = str(next(self._made))
                self.properties[name] = topics[name][1]
                for p in range(topics[name][0]):
                    self.entries[TopicPartition(name, p)] = []
            return new

    def add_partitions(self, topic: str, count: int) -> None:
        with self.lock:
            for p in range(self.partitions(topic), count):
                self.entries[TopicPartition(topic, p)] = []
            for group in self.groups.values():
                group.changed()

    def partitions(self, topic: str) -> int:
        n = sum(1 for tp in self.entries if tp.topic == topic)
        if not n:
            raise ConfigError(f"Kafka has no topic {topic}: run `headrace init PIPELINE` first")
        return n

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        with self.lock:
            tps = [TopicPartition(topic, p) for p in range(self.partitions(topic))]
            return {tp.partition: (self.firsts.get(tp, 0), self.stable_end(tp)) for tp in tps}

    def high_watermarks(self, topic: str) -> dict[int, int]:
        with self.lock:
            return {p: len(self.entries[TopicPartition(topic, p)]) for p in range(self.partitions(topic))}

    def offsets_at(self, topic: str, when: datetime) -> dict[int, int]:
        with self.lock:
            found = {}
            for p in range(self.partitions(topic)):
                tp = TopicPartition(topic, p)
                entries, first = self.entries[tp], self.firsts.get(tp, 0)
                later = (i for i, e in enumerate(entries) if i >= first and e.at >= when.timestamp())
                found[p] = next(later, len(entries))
            return found

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        with self.lock:
            for topic in topics:
                self.partitions(topic)
            return {topic: self.ids.get(topic, "") for topic in topics}

    def retention(self, topic: str) -> timedelta | None:
        with self.lock:
            self.partitions(topic)
            return kept_for(self.properties.get(topic, {}))

    def keep_for(self, topic: str, span: timedelta) -> None:
        with self.lock:
            self.properties[topic] = {**self.properties.get(topic, {}), "retention.ms": str(span // _MS)}

    def committed(self, group: str) -> dict[TopicPartition, int]:
        return {tp: at.offset for tp, at in self.positions(group).items()}

    def positions(self, group: str) -> dict[TopicPartition, Position]:
        with self.lock:
            return dict(self.groups.get(group, _Group()).committed)

    def members(self, group: str) -> set[str]:
        with self.lock:
            return {m.member for m in self.groups.get(group, _Group()).members}

    def grant(self, rules: Sequence[Rule]) -> None:
        """Nobody is refused here."""

    def carry_ids(self, topics: Iterable[str]) -> None:
        """Records have no headers here."""

    def reader(self, starts: Mapping[TopicPartition, int], *, committed: bool = True) -> MemoryReader:
        return MemoryReader(self, starts, committed=committed)

    def group(
        self, name: str, topics: Sequence[str], member: str, listener: RebalanceListener, *, timed: bool = False
    ) -> MemoryGroupReader:
        return MemoryGroupReader(self, name, topics, member, listener, timed=timed)

    def writer(self, transactional_id: str, *, tracks: bool = True) -> MemoryWriter:
        return MemoryWriter(self, transactional_id, tracks=tracks)

    def sender(self, name: str) -> MemorySender:
        return MemorySender(self)

    def polled_sender(self, name: str) -> MemoryPolledSender:
        return MemoryPolledSender(self)

    def headed(self, topic: str, header: str, since: datetime) -> Iterator[Headed]:
        with self.lock:
            for partition, start in self.offsets_at(topic, since).items():
                tp = TopicPartition(topic, partition)
                for offset, entry in enumerate(self.entries[tp][start:], start):
                    found = next((v for n, v in entry.headers if n == header), None)
                    if found is not None and not entry.control:
                        octets = found.encode() if isinstance(found, str) else found
                        yield Headed(tp, offset, int(entry.at * 1000), entry.value, octets)

    def place(self, chunk: Chunk) -> None:
        """Put committed records where they stood in another log; between them are gaps."""
        with self.lock:
            entries = self.entries.setdefault(chunk.tp, [])
            times = [time.time() * 1000] * len(chunk) if chunk.timestamps is None else chunk.timestamps.tolist()
            for offset, key, value, at in zip(chunk.offsets.tolist(), chunk.keys, chunk.values, times, strict=True):
                entries += [_Entry(None, None, None, control=True) for _ in range(offset - len(entries))]
                entries.append(_Entry(key, value, None, at=at / 1000))

    def commit(self, group: str, positions: Mapping[TopicPartition, int]) -> None:
        """Set a group's committed offsets, as an operator's tool does."""
        with self.lock:
            placed = {tp: Position(at, at) for tp, at in positions.items()}
            self.groups.setdefault(group, _Group()).committed.update(placed)

    def drop_before(self, tp: TopicPartition, offset: int) -> None:
        """Let a partition begin at an offset, as retention does."""
        with self.lock:
            self.firsts[tp] = offset

    def delete_topic(self, topic: str) -> None:
        """Delete a topic, and what groups have committed of it, as a broker does."""
        with self.lock:
            for tp in [tp for tp in self.entries if tp.topic == topic]:
                del self.entries[tp]
                self.firsts.pop(tp, None)
                for group in self.groups.values():
                    group.committed.pop(tp, None)

    def lacks(self, tp: TopicPartition, at: int) -> bool:
        """Whether an offset is neither there nor the next to come."""
        return not self.firsts.get(tp, 0) <= at <= len(self.entries.get(tp, ()))

    def erase(self, tp: TopicPartition, offset: int) -> bytes | None:
        """Take a record away, as no broker does; gives its value. For tests of what looks for losses."""
        with self.lock:
            value = self.entries[tp][offset].value
            self.entries[tp][offset] = _Entry(None, None, None, control=True)
            return value

    def give_up(self, tp: TopicPartition, offset: int) -> None:
        """Make a record one of an aborted transaction."""
        with self.lock:
            self.entries[tp][offset].transaction = _Transaction("aborted")

    def overwrite(self, tp: TopicPartition, offset: int, value: bytes | None) -> None:
        """Put another value in a record's place."""
        with self.lock:
            self.entries[tp][offset].value = value

    def expire(self, group: str, member: str) -> None:
        """Drop a member as a broker does whose session has run out: it is not told until it calls."""
        with self.lock:
            self.groups[group].members = [m for m in self.groups[group].members if m.member != member]
            self.groups[group].changed()

    def pending(self, group: str) -> set[TopicPartition]:
        """Partitions whose committed positions in a group an open transaction is about to move."""
        transactions = (w.open for w in self.epochs.values())
        return {tp for t in transactions if t for tp in t.positions.get(group, {})}

    def stable_end(self, tp: TopicPartition) -> int:
        entries = self.entries[tp]
        first_open = (i for i, e in enumerate(entries) if e.transaction is not None and e.transaction.state == "open")
        return next(first_open, len(entries))

    def visible(
        self, tp: TopicPartition, start: int, limit: int, *, committed: bool = True
    ) -> tuple[Chunk | None, int]:
        """Up to ``limit`` visible records from ``start``, and the offset reached."""
        end = self.stable_end(tp) if committed else len(self.entries[tp])
        offsets: list[int] = []
        at = start
        for at in range(start, end):
            entry = self.entries[tp][at]
            if entry.visible or not (committed or entry.control):
                offsets.append(at)
                if len(offsets) == limit:
                    break
        else:
            at = end - 1
        reached = max(start, at + 1)
        if not offsets:
            return None, reached
        found = [self.entries[tp][o] for o in offsets]
        times = [round(e.at * 1000) for e in found]
        return Chunk.of(tp, offsets, [e.key for e in found], [e.value for e in found], times), reached

    def append(self, tp: TopicPartition, entry: _Entry) -> int:
        if tp not in self.entries:
            raise ConfigError(f"Kafka has no partition {tp}: run `headrace init PIPELINE`, which adds it")
        if len(entry.key or b"") + len(entry.value or b"") > LARGEST:
            raise HeadraceError(f"a record for {tp} is over {LARGEST} bytes: make it smaller")
        self.entries[tp].append(entry)
        self.lock.notify_all()
        return len(self.entries[tp]) - 1


class MemoryReader:
    """Reads partitions by assignment."""

    def __init__(self, log: MemoryLog, starts: Mapping[TopicPartition, int], *, committed: bool = True) -> None:
        self._log = log
        self._at = dict(starts)
        self._committed = committed

    def poll(self, limit: int, timeout: float) -> list[Chunk]:
        with self._log.lock:
            for tp, at in self._at.items():
                if self._log.lacks(tp, at):
                    raise not_there(tp, at, self._log.firsts.get(tp, 0), len(self._log.entries[tp]))
            return _poll(self._log, self._at, set(), limit, timeout, committed=self._committed)

    def reached(self, tp: TopicPartition) -> int:
        return self._at[tp]

    def close(self) -> None:
        self._at.clear()


class MemoryGroupReader:
    """A group member. A rebalance completes when every live member has polled since it began."""

    def __init__(
        self,
        log: MemoryLog,
        name: str,
        topics: Sequence[str],
        member: str,
        listener: RebalanceListener,
        *,
        timed: bool = False,
    ) -> None:
        self._log = log
        self._timed = timed
        self._topics = list(topics)
        self._listener = listener
        self.member = member
        self.joined = -1
        self.assigned: set[TopicPartition] = set()
        self._settled = -1
        self._at: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self.closed = False
        with log.lock:
            self._group = log.groups.setdefault(name, _Group())
            self.name = name
            self._group.members.append(self)
            self._group.changed()

    def poll(self, limit: int, timeout: float) -> list[Chunk]:
        self._rebalance()
        with self._log.lock:
            if self._settled != self._group.generation:
                return []
            for tp in self._at.keys() - self._paused:
                if self._log.lacks(tp, self._at[tp]):
                    raise OffsetGone(f"{tp}: there is no offset {self._at[tp]}")
            chunks = _poll(self._log, self._at, self._paused, limit, timeout)
            return chunks if self._timed else [replace(chunk, timestamps=None) for chunk in chunks]

    def committed(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, Position]:
        with self._log.lock:
            pending = self._log.pending(self.name).intersection(tps)
            if pending:
                raise Unavailable(f"a transaction that is open will move {', '.join(map(str, sorted(pending)))}")
            return {tp: self._group.committed[tp] for tp in tps if tp in self._group.committed}

    def ends(self) -> dict[TopicPartition, int]:
        return {tp: self._log.high_watermarks(tp.topic)[tp.partition] for tp in self.assigned}

    def reached(self) -> dict[TopicPartition, int]:
        with self._log.lock:
            return {tp: at for tp, at in self._at.items() if at == len(self._log.entries.get(tp, ()))}

    def rewind(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._at = dict(offsets)
        self._paused = set(offsets)

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        self._paused.update(tps)

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        self._paused.difference_update(tps)

    def close(self) -> None:
        if self.alive:
            self._listener.on_revoked(sorted(self.assigned))
            with self._log.lock:
                if self.alive:
                    self._group.members.remove(self)
                    self._group.changed()
        self.closed = True

    @property
    def alive(self) -> bool:
        return self in self._group.members

    @property
    def current(self) -> bool:
        """Whether the broker would take this member's offsets: it has not yet joined a later generation."""
        return self.alive and self.joined == self._settled

    def _rebalance(self) -> None:
        """The listener is called with the log free: it may wait for a commit that another thread makes."""
        group = self._group
        if not self.alive:
            lost, self.assigned = sorted(self.assigned), set()
            self._listener.on_lost(lost)
            with self._log.lock:
                group.members.append(self)
                group.changed()
        if self.joined != group.generation:
            if self.assigned:
                gone, self.assigned = sorted(self.assigned), set()
                self._listener.on_revoked(gone)
            self.joined = group.generation
        with self._log.lock:
            taken = self._settled != group.generation and all(m.joined == group.generation for m in group.members)
            if taken:
                self._take(self._share())
        if taken:
            self._listener.on_assigned(sorted(self.assigned))

    def _take(self, tps: list[TopicPartition]) -> None:
        self.assigned = set(tps)
        self._at = {tp: self._group.committed.get(tp, Position(0, 0)).offset for tp in tps}
        self._paused = set(tps)
        self._settled = self._group.generation

    def _share(self) -> list[TopicPartition]:
        """The range assignor: per topic, members in order of name take consecutive partitions."""
        share = []
        for topic in self._topics:
            members = sorted(m.member for m in self._group.members if topic in m._topics)
            base, extra = divmod(self._log.partitions(topic), len(members))
            rank = members.index(self.member)
            start = rank * base + min(rank, extra)
            share += [TopicPartition(topic, p) for p in range(start, start + base + (rank < extra))]
        return share


class MemoryWriter:
    """A transactional producer. Making one with the same id fences this one and aborts what it left open."""

    def __init__(self, log: MemoryLog, transactional_id: str, *, tracks: bool = True) -> None:
        self._log = log
        self._id = transactional_id
        self._tracks = tracks
        self.open: _Transaction | None = None
        with log.lock:
            if (old := log.epochs.get(transactional_id)) and old.open:
                old._end("aborted")
            log.epochs[transactional_id] = self

    def begin(self) -> None:
        self._check()
        self.open = _Transaction()

    def write(self, output: Output) -> None:
        self.append([output])

    def write_and_wait(self, outputs: Sequence[Output]) -> list[list[int]]:
        if not self._tracks:
            raise HeadraceError(f"{self._id}: this writer does not track offsets; make it with tracks=True")
        return self.append(outputs)

    def append(self, outputs: Sequence[Output]) -> list[list[int]]:
        """Append records to the open transaction; gives their offsets."""
        with self._log.lock:
            transaction = self._transaction()
            offsets: list[list[int]] = []
            for output in outputs:
                offsets.append([])
                for key, value in zip(output.keys, output.values, strict=True):
                    offsets[-1].append(self._log.append(output.tp, _Entry(key, value, transaction)))
                    transaction.touched.add(output.tp)
            return offsets

    def send_offsets(self, positions: Mapping[TopicPartition, Position], group: GroupReader) -> None:
        with self._log.lock:
            transaction = self._transaction()
            if not isinstance(group, MemoryGroupReader) or not group.current:
                raise TransactionAborted(f"{self._id}: the group no longer knows this member (UNKNOWN_MEMBER_ID)")
            transaction.positions.setdefault(group.name, {}).update(positions)

    def commit(self) -> None:
        self._transaction()
        self._end("committed")

    def abort(self) -> None:
        self._check()
        if self.open:
            self._end("aborted")

    def close(self) -> None:
        with self._log.lock:
            if self.open and self._log.epochs.get(self._id) is self:
                self._end("aborted")

    def _transaction(self) -> _Transaction:
        self._check()
        if self.open is None:
            raise TransactionAborted(f"{self._id}: no transaction is open")
        return self.open

    def _check(self) -> None:
        if self._log.epochs.get(self._id) is not self:
            raise Fenced(f"another worker runs as {self._id}; this one stops")

    def _end(self, state: Literal["committed", "aborted"]) -> None:
        with self._log.lock:
            transaction, self.open = self.open, None
            if transaction is None:
                return
            transaction.state = state
            for tp in sorted(transaction.touched):
                self._log.append(tp, _Entry(None, None, transaction, control=True))
            if state == "committed":
                for name, positions in transaction.positions.items():
                    self._log.groups[name].committed.update(positions)
            self._log.lock.notify_all()


class MemorySender:
    """A plain producer. Its queue is never full, and those who asked are told before the call returns."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._unkeyed = count()
        self._reports = Reports()
        self._closed = False

    def send(
        self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None], *, wait: float = FULL_S
    ) -> None:
        with self._log.lock:
            for key, value in zip(keys, values, strict=True):
                self._append(topic, _Entry(key, value, None))

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
        pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers or ())
        at = timestamp / 1000 if timestamp else time.time()
        with self._log.lock:
            tp, offset = self._append(topic, _Entry(key, value, None, at=at, headers=pairs))
        if on_delivery is not None:
            when = (TIMESTAMP_CREATE_TIME, int(at * 1000))
            message = Message(tp.topic, tp.partition, offset, key, value, list(pairs) or None, None, when)
            self._reports.add(on_delivery, None, message)
            self._reports.tell()
        return True

    def wait_for_room(self, timeout: float) -> None:
        """There is room."""

    def flush(self, timeout: float = 60.0) -> None:
        self._reports.tell()

    def close(self, timeout: float = 60.0) -> None:
        self._closed = True

    def _append(self, topic: str, entry: _Entry) -> tuple[TopicPartition, int]:
        if self._closed:
            raise closed()
        n = self._log.partitions(topic)
        partition = next(self._unkeyed) % n if entry.key is None else partition_of(entry.key, n)
        tp = TopicPartition(topic, partition)
        return tp, self._log.append(tp, entry)


class MemoryPolledSender:
    """A plain producer whose user takes the reports. Its queue is never full."""

    def __init__(self, log: MemoryLog) -> None:
        self._sender = MemorySender(log)
        self._due: deque[tuple[OnDelivery, KafkaError | None, Message]] = deque()

    def offer(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, on_delivery: OnDelivery
    ) -> bool:
        def told(error: KafkaError | None, message: Message) -> None:
            self._due.append((on_delivery, error, message))

        return self._sender.offer(topic, key, value, headers=headers, on_delivery=told)

    def poll(self) -> int:
        due = [self._due.popleft() for _ in range(len(self._due))]
        for on_delivery, error, message in due:
            on_delivery(error, message)
        return len(due)

    def close(self, timeout: float) -> int:
        self.poll()
        self._sender.close()
        return 0


def _poll(
    log: MemoryLog,
    at: dict[TopicPartition, int],
    paused: set[TopicPartition],
    limit: int,
    timeout: float,
    *,
    committed: bool = True,
) -> list[Chunk]:
    deadline = time.monotonic() + timeout
    with log.lock:
        while True:
            chunks: list[Chunk] = []
            before = dict(at)
            for tp in sorted(at.keys() - paused):
                chunk, at[tp] = log.visible(tp, at[tp], limit - sum(map(len, chunks)), committed=committed)
                if chunk is not None:
                    chunks.append(chunk)
                if sum(map(len, chunks)) >= limit:
                    break
            left = deadline - time.monotonic()
            if at != before or left <= 0:
                return chunks
            log.lock.wait(left)
