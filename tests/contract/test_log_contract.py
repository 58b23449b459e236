"""What Kafka and its in-memory twin both keep to. Every test runs over both; ``-m "not kafka"`` runs the twin alone."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from confluent_kafka.admin import AdminClient

from headrace.codec.column import BytesColumn
from headrace.config import Settings
from headrace.errors import ConfigError, Fenced, HeadraceError, TransactionAborted, Unavailable
from headrace.log import kafka_writer
from headrace.log import transport as transports
from headrace.log.base import LARGEST, Chunk, Log, Output, Position, TopicPartition, Writer, read_all, read_range
from headrace.log.kafka import KafkaLog
from headrace.log.memory import MemoryLog
from headrace.log.native import outlet
from headrace.log.native.choice import native
from headrace.log.partitioner import murmur2, partition_of
from headrace.log.transport import PYTHON
from tests.waiting import wait_for

Unique = Callable[[str], str]
TRANSPORTS = ("python",) if isinstance(native(), str) else ("native", "python")
both = pytest.mark.parametrize(
    "log", ["memory", *(pytest.param(name, marks=pytest.mark.kafka) for name in TRANSPORTS)], indirect=True
)


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Log:
    if request.param == "memory":
        return MemoryLog()
    return _kafka(request.getfixturevalue("settings"), request.param)


@pytest.fixture(params=TRANSPORTS)
def kafka(request: pytest.FixtureRequest, settings: Settings) -> KafkaLog:
    return _kafka(settings, request.param)


def _kafka(settings: Settings, transport: str) -> KafkaLog:
    return KafkaLog(settings.model_copy(update={"transport": transport}), "contract")


class Member:
    """A group member that notes what it is told and what it reads; resumes nothing by itself."""

    def __init__(self, log: Log, group: str, topics: Sequence[str], name: str) -> None:
        self.events: list[str] = []
        self.assigned: set[TopicPartition] = set()
        self.read: list[tuple[TopicPartition, int]] = []
        self.before_revoked: Callable[[], None] = lambda: None
        self.reader = log.group(group, topics, name, self)

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


@pytest.fixture
def join(log: Log) -> Iterator[Callable[[str, Sequence[str], str], Member]]:
    """Make group members that leave at the end of the test."""
    members: list[Member] = []

    def joined(group: str, topics: Sequence[str], name: str) -> Member:
        members.append(Member(log, group, topics, name))
        return members[-1]

    yield joined
    for member in members:
        member.before_revoked = lambda: None
        member.reader.close()


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


def commit(writer: Writer, *outputs: Output) -> list[list[int]]:
    writer.begin()
    offsets = writer.write_tracked(outputs)
    writer.commit()
    return offsets


def abort(writer: Writer, *outputs: Output) -> None:
    """Write records that reach the broker, and take them back."""
    writer.begin()
    writer.write_tracked(outputs)
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


# Topics.


@both
def test_topics_are_created_once(log: Log, unique: Unique) -> None:
    one, two = unique("one"), unique("two")
    assert log.create_topics({one: (3, {"cleanup.policy": "compact"})}) == [one]
    assert log.create_topics({one: (3, {}), two: (1, {})}) == [two]
    assert log.create_topics({one: (3, {}), two: (1, {})}) == []
    assert (log.partitions(one), log.partitions(two)) == (3, 1)
    assert log.bounds(one) == {0: (0, 0), 1: (0, 0), 2: (0, 0)}


@both
def test_an_unknown_topic_is_a_config_error_that_names_the_mend(log: Log, unique: Unique) -> None:
    name = unique("none")
    for ask in (log.partitions, log.bounds, log.high_watermarks):
        with pytest.raises(ConfigError, match=f"no topic {name}: run `headrace init"):
            ask(name)


@both
def test_partitions_can_be_added(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"), 1)
    commit(log.writer(unique("w")), output(name, [b"old"]))
    log.add_partitions(name, 3)
    assert log.partitions(name) == 3
    commit(log.writer(unique("w")), output(name, [b"new"], 2))
    assert content(log, name) == [(0, 0, b"old"), (2, 0, b"new")]


# Sending.


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_what_kafkas_own_test_expects(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed & 0xFFFFFFFF


@both
def test_a_sender_partitions_by_the_keys_murmur2_hash(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"), 7)
    keys = [b"", b"\x00", b"JFK", "schön".encode(), *(b"k" * n for n in range(1, 9)), *numbers(0, 500)]
    sender = log.sender(unique("s"))
    sender.send(name, keys, keys)
    sender.flush()
    expected = {p: [k for k in keys if partition_of(k, 7) == p] for p in range(7)}
    assert {chunk.tp.partition: chunk.values for chunk in read_all(log, name)} == expected


@both
def test_records_without_a_key_all_arrive(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"), 3)
    sender = log.sender(unique("s"))
    sender.send(name, [None] * 100, numbers(0, 100))
    sender.flush()
    assert Counter(values(log, name)) == Counter(numbers(0, 100))


@both
def test_null_values_and_keys_stay_what_they_are(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    sender = log.sender(unique("s"))
    sender.send(name, [b"k", b"k", None], [None, b"", b"v"])
    sender.flush()
    (chunk,) = read_all(log, name)
    assert chunk.keys.to_list() == [b"k", b"k", None]
    assert chunk.values.to_list() == [None, b"", b"v"]


@both
def test_order_is_kept_within_a_partition(log: Log, unique: Unique) -> None:
    sent, written = topic(log, unique("sent")), topic(log, unique("written"), 2)
    sender, writer = log.sender(unique("s")), log.writer(unique("w"))
    for start in range(0, 6000, 1500):
        sender.send(sent, [b"k"] * 1500, numbers(start, start + 1500))
        writer.begin()
        for part in range(start, start + 1500, 500):
            writer.write(output(written, numbers(part, part + 500), part // 500 % 2))
        writer.commit()
    sender.flush()
    assert values(log, sent) == numbers(0, 6000)
    assert values(log, written) == [
        *(v for part in range(0, 6000, 1000) for v in numbers(part, part + 500)),
        *(v for part in range(500, 6000, 1000) for v in numbers(part, part + 500)),
    ]


# Transactions.


@both
def test_a_transaction_shows_in_all_topics_and_partitions_or_in_none(log: Log, unique: Unique) -> None:
    one, two = topic(log, unique("one"), 2), topic(log, unique("two"))
    writer = log.writer(unique("w"))
    writer.begin()
    writer.write_tracked([output(one, [b"a"], 0), output(one, [b"b"], 1), output(two, [b"c"])])
    assert [list(read_all(log, name)) for name in (one, two)] == [[], []]
    writer.commit()
    assert content(log, one) == [(0, 0, b"a"), (1, 0, b"b")]
    assert content(log, two) == [(0, 0, b"c")]


@both
def test_aborted_records_are_invisible_and_transactions_leave_gaps_in_offsets(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    writer = log.writer(unique("w"))
    commit(writer, output(name, [b"a", b"b"]))  # 0, 1; marker at 2
    abort(writer, output(name, [b"x", b"y"]))  # 3, 4; marker at 5
    commit(writer, output(name, [b"c"]))  # 6; marker at 7
    assert content(log, name) == [(0, 0, b"a"), (0, 1, b"b"), (0, 6, b"c")]
    settled(log, name)
    assert log.bounds(name) == {0: (0, 8)}


@both
def test_an_open_transaction_holds_back_the_last_stable_offset_only(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    commit(log.writer(unique("first")), output(name, [b"a"]))  # 0; marker at 1
    settled(log, name)
    slow = log.writer(unique("slow"))
    slow.begin()
    slow.write_tracked([output(name, [b"open"])])  # 2
    commit(log.writer(unique("quick")), output(name, [b"b"]))  # 3; marker at 4
    wait_for(lambda: log.high_watermarks(name) == {0: 5}, 5, "the marker of the second transaction")
    assert log.bounds(name) == {0: (0, 2)}
    assert [chunk.values for chunk in read_all(log, name)] == [[b"a"]]
    slow.abort()
    assert values(log, name) == [b"a", b"b"]


@both
def test_reading_settled_waits_for_transactions_that_are_open(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    writer = log.writer(unique("w"))
    writer.begin()
    writer.write_tracked([output(name, [b"late"])])
    read: list[bytes | None] = []
    thread = threading.Thread(target=lambda: read.extend(values(log, name)))
    thread.start()
    writer.commit()
    thread.join(10)
    assert read == [b"late"]


@both
def test_a_reader_that_asks_for_it_sees_open_and_aborted_records_too(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    writer = log.writer(unique("w"))
    commit(writer, output(name, [b"a"]))  # 0; marker at 1
    abort(writer, output(name, [b"x"]))  # 2; marker at 3
    writer.begin()
    writer.write_tracked([output(name, [b"open"])])  # 4
    reader = log.reader({TopicPartition(name, 0): 0}, committed=False)
    seen: list[tuple[int, bytes | None]] = []

    def read() -> bool:
        for chunk in reader.poll(100, 0.05):
            seen.extend(zip(chunk.offsets.tolist(), chunk.values, strict=True))
        return len(seen) >= 3

    wait_for(read, 10, "three records, whatever became of their transactions")
    reader.close()
    writer.abort()
    assert seen == [(0, b"a"), (2, b"x"), (4, b"open")]


@both
def test_offsets_at_a_time_are_those_of_the_first_records_that_came_then(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"), 2)
    writer = log.writer(unique("w"))
    commit(writer, output(name, [b"a", b"b"]))  # 0, 1; marker at 2
    wait_for(lambda: log.bounds(name)[0] == (0, 3), 10, "the marker")  # a first transaction's comes after the commit
    later = datetime.now(UTC) + timedelta(milliseconds=20)
    wait_for(lambda: datetime.now(UTC) > later, 5, "the clock to go on")
    commit(writer, output(name, [b"c"]))  # 3; marker at 4
    assert log.offsets_at(name, datetime(2000, 1, 1, tzinfo=UTC)) == {0: 0, 1: 0}
    assert log.offsets_at(name, later) == {0: 3, 1: 0}
    after = datetime.now(UTC) + timedelta(hours=1)
    assert log.offsets_at(name, after) == {0: 5, 1: 0}


@both
@pytest.mark.parametrize(
    ("properties", "kept"),
    [
        ({"retention.ms": "5400000"}, timedelta(hours=1.5)),
        ({"retention.ms": "5400000", "cleanup.policy": "compact,delete"}, timedelta(hours=1.5)),
        ({"retention.ms": "5400000", "cleanup.policy": "compact"}, None),
        ({"retention.ms": "-1"}, None),
        ({"retention.ms": str(2**63 - 1)}, timedelta(days=365_000)),
    ],
)
def test_a_topics_retention_is_that_of_its_properties(
    log: Log, unique: Unique, properties: dict[str, str], kept: timedelta | None
) -> None:
    name = unique("t")
    log.create_topics({name: (1, properties)})
    assert log.retention(name) == kept
    with pytest.raises(ConfigError, match="no topic"):
        log.retention(unique("none"))


@both
def test_committed_offsets_of_a_whole_group_can_be_listed(log: Log, unique: Unique, join: Join) -> None:
    name, group = topic(log, unique("t"), 2), unique("g")
    assert log.committed(group) == {}
    writer, member = log.writer(unique("w")), join(group, [name], "m")
    turns(member)(lambda: bool(member.assigned), "the member is assigned")
    writer.begin()
    writer.send_offsets({TopicPartition(name, 1): Position(3, 0)}, member.reader)
    writer.commit()
    wait_for(lambda: log.committed(group) == {TopicPartition(name, 1): 3}, 5, "the commit shows")


@both
def test_write_tracked_gives_the_offset_of_every_record(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"), 2)
    writer = log.writer(unique("w"))
    commit(writer, output(name, [b"gap"], 1))
    given = commit(writer, output(name, numbers(0, 3), 1), output(name, [], 0), output(name, numbers(3, 5), 0))
    assert given == [[2, 3, 4], [], [0, 1]]
    found = {(p, value): offset for p, offset, value in content(log, name)}
    assert [found[1, v] for v in numbers(0, 3)] == given[0]
    assert [found[0, v] for v in numbers(3, 5)] == given[2]


@both
def test_a_writer_that_does_not_track_refuses_to_and_writes_as_any_other(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    writer = log.writer(unique("w"), tracks=False)
    writer.begin()
    with pytest.raises(HeadraceError, match="does not track"):
        writer.write_tracked([output(name, [b"a"])])
    writer.write(output(name, numbers(0, 2000)))
    writer.commit()
    assert values(log, name) == numbers(0, 2000)


@both
def test_a_writer_that_does_not_track_keeps_order_nulls_and_empty_strings(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"), 2)
    keys = [b"k", None, b"", b"k" * 300, b"x"]
    written = [b"", b"v", None, b"w" * 1000, b"\x00\x01"]
    writer = log.writer(unique("w"), tracks=False)
    writer.begin()
    writer.write(Output(TopicPartition(name, 1), keys * 5000, written * 5000))
    writer.write(Output(TopicPartition(name, 0), BytesColumn.of(keys)[1:4], BytesColumn.of(written)[1:4]))
    writer.commit()
    found = {chunk.tp.partition: chunk for chunk in whole(log, name)}
    assert found[1].keys.to_list() == keys * 5000
    assert found[1].values.to_list() == written * 5000
    assert found[0].keys.to_list() == keys[1:4]
    assert found[0].values.to_list() == written[1:4]


@both
def test_an_empty_transaction_can_be_committed_or_aborted(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    writer = log.writer(unique("w"))
    writer.begin()
    writer.commit()
    writer.begin()
    writer.write(output(name, []))
    writer.abort()
    commit(writer, output(name, [b"a"]))
    assert content(log, name) == [(0, 0, b"a")]


@both
def test_a_writer_with_the_same_id_fences_the_old_one_and_ends_its_transaction(log: Log, unique: Unique) -> None:
    name, name_of_writer = topic(log, unique("t")), unique("w")
    old = log.writer(name_of_writer)
    old.begin()
    old.write_tracked([output(name, [b"zombie"])])
    new = log.writer(name_of_writer)
    settled(log, name)
    with pytest.raises(Fenced, match=f"another worker runs as {name_of_writer}"):
        old.commit()
    with pytest.raises(Fenced):
        old.abort()
    commit(new, output(name, [b"heir"]))
    assert values(log, name) == [b"heir"]
    old.close()


@both
def test_a_fenced_writer_writes_nothing_more(log: Log, unique: Unique) -> None:
    name, name_of_writer = topic(log, unique("t")), unique("w")
    old = log.writer(name_of_writer)
    commit(old, output(name, [b"before"]))
    new = log.writer(name_of_writer)

    def another() -> None:
        old.begin()
        old.write_tracked([output(name, [b"zombie"])])
        old.commit()

    with pytest.raises(Fenced):
        another()
    commit(new, output(name, [b"heir"]))
    assert values(log, name) == [b"before", b"heir"]
    old.close()


@both
@pytest.mark.parametrize("tracks", [True, False])
def test_a_record_over_the_limit_is_refused_and_the_writer_goes_on_after_abort(
    log: Log, unique: Unique, tracks: bool
) -> None:
    name = topic(log, unique("t"))
    tp = TopicPartition(name, 0)
    writer = log.writer(unique("w"), tracks=tracks)
    largest = bytes(LARGEST - 1)
    writes: list[Callable[[Output], object]] = [writer.write]
    if tracks:
        writes.append(lambda o: writer.write_tracked([o]))
    for write in writes:
        writer.begin()
        with pytest.raises(HeadraceError, match=r"a record for .*\[0\] is over 2000000 bytes"):
            write(Output(tp, [b"k", b"kk", b"k"], [b"a", largest, b"b"]))
        writer.abort()
    writer.begin()
    writer.write(Output(tp, [b"k"], [largest]))
    writer.commit()
    assert values(log, name) == [largest]
    with pytest.raises(HeadraceError):
        log.sender(unique("s")).send(name, [b"kk"], [largest])


@both
@pytest.mark.parametrize("tracks", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_a_partition_that_is_not_there_is_a_config_error_and_the_writer_goes_on(
    log: Log, unique: Unique, tracks: bool, known: bool
) -> None:
    name = topic(log, unique("t"), 2)
    writer = log.writer(unique("w"), tracks=tracks)
    if known:
        writer.begin()
        writer.write(output(name, [b"before"]))
        writer.commit()
    writer.begin()
    with pytest.raises(ConfigError, match=rf"no partition {re.escape(name)}\[7\]: run `headrace init"):  # noqa: PT012
        writer.write(output(name, numbers(0, 100), 1))
        writer.write(output(name, numbers(100, 200), 7))
        writer.commit()
    writer.abort()
    writer.begin()
    writer.write(output(name, [b"after"]))
    writer.commit()
    assert values(log, name) == [b"before", b"after"][not known :]


# Reading by offset.


@pytest.fixture
def gaps(log: Log, unique: Unique) -> TopicPartition:
    """A partition of 12 offsets: 0 aborted, 1 marker, 2 a, 3 b, 4 marker, 5 aborted, 6 marker, 7 c, 8 marker,
    9 aborted, 10 aborted, 11 marker."""
    name = topic(log, unique("gaps"))
    writer = log.writer(unique("w"))
    abort(writer, output(name, [b"x"]))
    commit(writer, output(name, [b"a", b"b"]))
    abort(writer, output(name, [b"x"]))
    commit(writer, output(name, [b"c"]))
    abort(writer, output(name, [b"x", b"x"]))
    settled(log, name)
    return TopicPartition(name, 0)


VISIBLE = {2: b"a", 3: b"b", 7: b"c"}


@both
def test_every_range_of_offsets_gives_exactly_its_records_and_ends(log: Log, gaps: TopicPartition) -> None:
    for start, stop in [(0, 12), (0, 2), (2, 3), (3, 7), (4, 7), (4, 8), (7, 8), (8, 12), (9, 99), (0, 5), (12, 20)]:
        chunks = list(read_range(log, {gaps: (start, stop)}))
        found = {o: v for c in chunks for o, v in zip(c.offsets.tolist(), c.values, strict=True)}
        assert found == {o: v for o, v in VISIBLE.items() if start <= o < stop}, (start, stop)
        assert all(len(c) for c in chunks)


@both
@pytest.mark.parametrize("bounds", [(0, 0), (3, 3), (5, 2), (12, 12), (50, 60)])
def test_an_empty_range_gives_nothing(log: Log, gaps: TopicPartition, bounds: tuple[int, int]) -> None:
    assert list(read_range(log, {gaps: bounds})) == []


@both
def test_ranges_are_read_in_the_order_given_and_in_pieces_of_the_limit(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"), 2)
    commit(log.writer(unique("w")), output(name, numbers(0, 10), 0), output(name, numbers(10, 15), 1))
    settled(log, name)
    ranges = {TopicPartition(name, 1): (1, 4), TopicPartition(name, 0): (2, 9)}
    chunks = list(read_range(log, ranges, limit=3))
    assert [v for c in chunks for v in c.values] == [*numbers(11, 14), *numbers(2, 9)]
    assert max(map(len, chunks)) <= 3
    assert all(a.tp != b.tp or a.next_offset == b.offsets[0] for a, b in pairwise(chunks))


@both
def test_a_reader_reaches_the_high_watermark_gaps_at_the_end_included(log: Log, gaps: TopicPartition) -> None:
    for start in (0, 7, 8, 9, 11, 12):
        reader = log.reader({gaps: start})
        found: list[int] = []

        def reached(reader=reader, found=found) -> bool:  # type: ignore[no-untyped-def]
            found += [o for c in reader.poll(100, 0.05) for o in c.offsets.tolist()]
            return bool(reader.reached(gaps) == 12)

        wait_for(reached, 5, f"reading from {start} reaches the end")
        assert found == [o for o in VISIBLE if o >= start]
        reader.close()


@both
def test_a_reader_that_waits_at_the_end_follows_hidden_and_visible_records(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    tp, writer = TopicPartition(name, 0), log.writer(unique("w"))
    reader = log.reader({tp: 0})
    found: list[bytes | None] = []

    def at(offset: int) -> None:
        def reached() -> bool:
            found.extend(v for c in reader.poll(100, 0.02) for v in c.values)
            return reader.reached(tp) == offset

        wait_for(reached, 5, f"the reader reaches {offset}")

    at(0)
    commit(writer, output(name, [b"a"]))
    at(2)
    abort(writer, output(name, [b"x"]))
    at(4)
    writer.begin()
    writer.write_tracked([output(name, [b"b"])])
    assert (reader.poll(100, 0.1), reader.reached(tp)) == ([], 4)
    writer.commit()
    at(6)
    assert found == [b"a", b"b"]
    reader.close()


@both
def test_a_poll_returns_when_there_is_something_and_does_not_wait_for_more(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    commit(log.writer(unique("w")), output(name, numbers(0, 3)))
    settled(log, name)
    reader = log.reader({TopicPartition(name, 0): 0})
    offsets: list[int] = []
    began = time.monotonic()
    while len(offsets) < 3:
        offsets += [o for c in reader.poll(1000, 20) for o in c.offsets.tolist()]
    assert time.monotonic() - began < 10
    assert offsets == [0, 1, 2]
    reader.close()


@both
def test_chunks_have_rising_int64_offsets_and_no_more_records_than_the_limit(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    commit(log.writer(unique("w")), output(name, numbers(0, 10)))
    settled(log, name)
    for chunk in read_range(log, {TopicPartition(name, 0): (0, 10)}, limit=4):
        assert chunk.offsets.dtype == np.int64
        assert len(chunk.offsets) == len(chunk.keys) == len(chunk.values) == len(chunk) <= 4
        assert (np.diff(chunk.offsets) > 0).all()


# Groups.

Join = Callable[[str, Sequence[str], str], Member]


@both
def test_partitions_come_paused_and_flow_when_resumed(log: Log, unique: Unique, join: Join) -> None:
    name = topic(log, unique("t"), 2)
    commit(log.writer(unique("w")), output(name, [b"a"], 0), output(name, [b"b"], 1))
    member = join(unique("g"), [name], "m")
    until = turns(member)
    until(lambda: bool(member.assigned), "the member is assigned")
    zero, one = TopicPartition(name, 0), TopicPartition(name, 1)
    assert member.assigned == {zero, one}
    for _ in range(5):
        assert member.reader.poll(100, 0.05) == []
    member.reader.resume([zero])
    until(lambda: bool(member.read), "the resumed partition flows")
    assert member.read == [(zero, 0)]
    member.reader.pause([zero])
    member.reader.resume([one])
    until(lambda: len(member.read) > 1, "the other one flows")
    assert member.read == [(zero, 0), (one, 0)]


@both
def test_a_paused_partition_goes_on_where_it_stood(log: Log, unique: Unique, join: Join) -> None:
    name = topic(log, unique("t"))
    tp = TopicPartition(name, 0)
    commit(log.writer(unique("w")), output(name, numbers(0, 5000)))
    member = join(unique("g"), [name], "m")
    until = turns(member)
    until(lambda: bool(member.assigned), "the member is assigned")
    for _ in range(4):
        member.reader.resume([tp])
        before = len(member.read)
        until(lambda before=before: len(member.read) > before, "records flow")  # type: ignore[misc]
        member.reader.pause([tp])
        for _ in range(3):
            assert member.reader.poll(1000, 0.02) == []
    assert [offset for _, offset in member.read] == list(range(len(member.read)))


@both
def test_committed_positions_carry_rebuild_from(log: Log, unique: Unique, join: Join) -> None:
    name, group = topic(log, unique("t"), 3), unique("g")
    zero, one, two = (TopicPartition(name, p) for p in range(3))
    writer = log.writer(unique("w"))
    commit(writer, output(name, numbers(0, 9), 0), output(name, numbers(0, 9), 1))
    member = join(group, [name], "m")
    turns(member)(lambda: bool(member.assigned), "the member is assigned")
    assert member.reader.committed([zero, one, two]) == dict.fromkeys((zero, one, two), Position(0, 0))
    writer.begin()
    writer.send_offsets({zero: Position(5, 2)}, member.reader)
    writer.send_offsets({one: Position(1, 0), zero: Position(7, 3)}, member.reader)
    writer.commit()
    writer.begin()
    writer.send_offsets({zero: Position(9, 9)}, member.reader)
    writer.abort()
    expected = {zero: Position(7, 3), one: Position(1, 0), two: Position(0, 0)}
    assert member.reader.committed([zero, one, two]) == expected
    assert member.reader.committed([]) == {}
    member.reader.close()
    heir = join(group, [name], "heir")
    until = turns(heir)
    until(lambda: bool(heir.assigned), "the heir is assigned")
    assert heir.reader.committed([zero, one, two]) == expected
    heir.reader.resume(sorted(heir.assigned))
    until(lambda: len(heir.read) == 10, "the heir reads what is left")
    assert sorted(heir.read) == [(zero, 7), (zero, 8), *((one, o) for o in range(1, 9))]


@both
def test_committed_positions_are_not_told_while_an_open_transaction_is_about_to_move_them(
    log: Log, unique: Unique, join: Join
) -> None:
    """Else the heir of a member that stalled between sending its offsets and committing would do its work again."""
    name = topic(log, unique("t"))
    tp = TopicPartition(name, 0)
    member = join(unique("g"), [name], "m")
    turns(member)(lambda: bool(member.assigned), "the member is assigned")
    told: list[dict[TopicPartition, Position]] = []

    def ask() -> None:
        while not told:
            with contextlib.suppress(Unavailable):
                told.append(member.reader.committed([tp]))

    for commits, expected in [(False, Position(0, 0)), (True, Position(3, 1))]:
        writer = log.writer(unique("w"))
        writer.begin()
        writer.send_offsets({tp: Position(3, 1)}, member.reader)
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(0.5)
        assert told == []
        (writer.commit if commits else writer.abort)()
        thread.join(10)
        assert told == [{tp: expected}]
        told.clear()


@both
def test_rewind_goes_back_and_leaves_the_partitions_paused(log: Log, unique: Unique, join: Join) -> None:
    name = topic(log, unique("t"), 2)
    zero, one = TopicPartition(name, 0), TopicPartition(name, 1)
    commit(log.writer(unique("w")), output(name, numbers(0, 5), 0), output(name, numbers(0, 5), 1))
    member = join(unique("g"), [name], "m")
    until = turns(member)
    until(lambda: bool(member.assigned), "the member is assigned")
    member.reader.resume([zero, one])
    until(lambda: len(member.read) == 10, "all is read")
    member.read.clear()
    member.reader.rewind({zero: 2, one: 4})
    for _ in range(3):
        assert member.reader.poll(100, 0.05) == []
    member.reader.resume([zero, one])
    until(lambda: len(member.read) == 4, "the rest is read again")
    assert sorted(member.read) == [(zero, 2), (zero, 3), (zero, 4), (one, 4)]
    assert member.events == ["assigned"]


@both
def test_rewind_works_before_anything_was_read(log: Log, unique: Unique, join: Join) -> None:
    name = topic(log, unique("t"))
    tp = TopicPartition(name, 0)
    commit(log.writer(unique("w")), output(name, numbers(0, 5)))
    member = join(unique("g"), [name], "m")
    until = turns(member)
    until(lambda: bool(member.assigned), "the member is assigned")
    member.reader.rewind({tp: 3})
    member.reader.resume([tp])
    until(lambda: len(member.read) == 2, "the rest is read")
    assert member.read == [(tp, 3), (tp, 4)]


@both
def test_a_member_knows_how_far_its_partitions_reach(log: Log, unique: Unique, join: Join) -> None:
    name = topic(log, unique("t"))
    tp = TopicPartition(name, 0)
    commit(log.writer(unique("w")), output(name, numbers(0, 5)))
    member = join(unique("g"), [name], "m")
    until = turns(member)
    until(lambda: bool(member.assigned), "the member is assigned")
    member.reader.resume([tp])
    until(lambda: len(member.read) == 5, "the records are read")
    until(lambda: member.reader.ends() == {tp: log.high_watermarks(name)[0]}, "the end is known")


@both
def test_range_assignment_keeps_co_partitioned_topics_together(log: Log, unique: Unique, join: Join) -> None:
    one, two, group = topic(log, unique("one"), 5), topic(log, unique("two"), 5), unique("g")
    a, b = join(group, [one, two], "a"), join(group, [one, two], "b")
    turns(a, b)(lambda: {len(a.assigned), len(b.assigned)} == {6, 4}, "both are assigned")
    shares = [{t: {tp.partition for tp in m.assigned if tp.topic == t} for t in (one, two)} for m in (a, b)]
    assert all(share[one] == share[two] for share in shares)
    assert sorted([shares[0][one], shares[1][one]], key=min) == [{0, 1, 2}, {3, 4}]


@both
def test_a_member_without_partitions_is_told_so(log: Log, unique: Unique, join: Join) -> None:
    name, group = topic(log, unique("t")), unique("g")
    a, b = join(group, [name], "a"), join(group, [name], "b")
    until = turns(a, b)
    until(lambda: a.events[-1:] == b.events[-1:] == ["assigned"] and a.assigned != b.assigned, "both are told")
    idle = a if b.assigned else b
    assert idle.assigned == set()
    idle.reader.rewind({})
    idle.reader.resume([])
    assert idle.reader.poll(10, 0.05) == []


@both
def test_offsets_sent_and_committed_on_revocation_are_where_the_next_member_begins(
    log: Log, unique: Unique, join: Join
) -> None:
    name, out, group = topic(log, unique("t")), topic(log, unique("out")), unique("g")
    tp = TopicPartition(name, 0)
    writer = log.writer(unique("w"))
    commit(writer, output(name, numbers(0, 10)))
    b = join(group, [name], "b")
    until = turns(b)
    until(lambda: bool(b.assigned), "b is assigned")
    b.reader.resume([tp])
    until(lambda: len(b.read) == 10, "b reads")

    def finish() -> None:
        writer.send_offsets({tp: Position(4, 1)}, b.reader)
        writer.commit()

    writer.begin()
    writer.write(output(out, [b"done by b"]))
    b.before_revoked = finish
    a = join(group, [name], "a")  # range gives the partition to the first by name
    turns(a, b)(lambda: bool(a.assigned), "a takes over")
    assert b.events[:2] == ["assigned", "revoked"]
    assert a.reader.committed([tp]) == {tp: Position(4, 1)}
    a.reader.resume([tp])
    turns(a, b)(lambda: len(a.read) == 6, "a reads the rest")
    assert a.read == [(tp, o) for o in range(4, 10)]
    assert values(log, out) == [b"done by b"]


@both
def test_members_are_known_by_name_until_they_leave(log: Log, unique: Unique, join: Join) -> None:
    name, group = topic(log, unique("t"), 2), unique("g")
    assert log.members(group) == set()
    a, b = join(group, [name], "a"), join(group, [name], "b")
    turns(a, b)(lambda: log.members(group) == {"a", "b"}, "both are known")
    turns(a, b)(lambda: len(a.assigned) == len(b.assigned) == 1, "both are assigned")
    a.reader.close()
    assert a.events[-1] == "revoked"
    turns(b)(lambda: log.members(group) == {"b"} and len(b.assigned) == 2, "one is left")


@both
def test_an_expired_members_offsets_are_refused_and_its_writer_goes_on_after_abort(
    log: Log, unique: Unique, request: pytest.FixtureRequest
) -> None:
    name, out, group = topic(log, unique("t")), topic(log, unique("out")), unique("g")
    tp = TopicPartition(name, 0)
    if isinstance(log, KafkaLog):
        settings: Settings = request.getfixturevalue("settings")
        short = {"session.timeout.ms": "1000", "max.poll.interval.ms": "1000"}
        log = KafkaLog(settings.model_copy(update={"kafka": settings.kafka | short}), "contract")
    writer = log.writer(unique("w"))
    zombie = Member(log, group, [name], "zombie")
    turns(zombie)(lambda: bool(zombie.assigned), "the member is assigned")
    writer.begin()
    writer.write_tracked([output(out, [b"zombie"])])
    if isinstance(log, MemoryLog):
        log.expire(group, "zombie")
    wait_for(lambda: log.members(group) == set(), 10, "the member has expired")
    with pytest.raises(TransactionAborted):
        writer.send_offsets({tp: Position(1, 1)}, zombie.reader)
    writer.abort()
    assert values(log, out) == []
    turns(zombie)(lambda: zombie.events == ["assigned", "lost", "assigned"], "it joins again")
    writer.begin()
    writer.write(output(out, [b"back"]))
    writer.send_offsets({tp: Position(1, 0)}, zombie.reader)
    writer.commit()
    assert zombie.reader.committed([tp]) == {tp: Position(1, 0)}
    assert values(log, out) == [b"back"]
    zombie.reader.close()


@both
def test_added_partitions_come_to_the_group(log: Log, unique: Unique, request: pytest.FixtureRequest) -> None:
    if isinstance(log, KafkaLog):
        settings: Settings = request.getfixturevalue("settings")
        quick = {**settings.kafka, "topic.metadata.refresh.interval.ms": "500"}
        log = KafkaLog(settings.model_copy(update={"kafka": settings.kafka | quick}), "contract")
    name = topic(log, unique("t"), 1)
    member = Member(log, unique("g"), [name], "m")
    turns(member)(lambda: len(member.assigned) == 1, "the member is assigned")
    log.add_partitions(name, 3)
    turns(member)(lambda: len(member.assigned) == 3, "it is assigned the new ones too")
    member.reader.close()


# The real clients alone.


@pytest.mark.kafka
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("limit", [{}, {"queue.buffering.max.kbytes": "4"}])
def test_a_full_queue_makes_the_writers_wait_and_keeps_order(
    settings: Settings, unique: Unique, limit: dict[str, str], transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_writer, "QUEUE", 10)
    monkeypatch.setattr(transports, "SLICE", 300)
    monkeypatch.setattr(outlet, "SLICE", 300)
    log = _kafka(settings.model_copy(update={"kafka": {**settings.kafka, **limit}}), transport)
    name = topic(log, unique("t"))
    sent = [v * (1 + 200 * (i % 3)) for i, v in enumerate(numbers(0, 1000))]
    writer = log.writer(unique("w"))
    writer.begin()
    writer.write(output(name, sent[:600]))
    [offsets] = writer.write_tracked([output(name, sent[600:])])
    writer.commit()
    assert values(log, name) == sent
    assert offsets == list(range(600, 1000))
    plain = log.writer(unique("w"), tracks=False)
    plain.begin()
    plain.write(output(name, sent))
    plain.commit()
    sender = log.sender(unique("s"))
    sender.send(name, [b"k"] * 1000, sent)
    sender.flush()
    assert values(log, name) == sent * 3


@pytest.mark.kafka
def test_a_transaction_that_outlives_its_limit_is_given_up_and_its_writer_goes_on(
    settings: Settings, unique: Unique
) -> None:
    short = {"transaction.timeout.ms": "1000"}
    log = KafkaLog(settings.model_copy(update={"kafka": settings.kafka | short}), "contract")
    name = topic(log, unique("t"))
    writer = log.writer(unique("w"))
    writer.begin()
    writer.write_tracked([output(name, [b"too late"])])
    wait_for(lambda: log.bounds(name) == {0: (0, 2)}, 25, "the broker gives the transaction up")
    with pytest.raises(TransactionAborted, match="open longer than 1 s"):
        writer.commit()
    writer.abort()
    commit(writer, output(name, [b"again"]))
    assert values(log, name) == [b"again"]


@pytest.mark.kafka
def test_a_call_that_never_returns_costs_the_transaction_and_not_the_writer(
    settings: Settings, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = KafkaLog(settings, "contract")
    name, group = topic(log, unique("t")), unique("g")
    tp = TopicPartition(name, 0)
    member, writer = Member(log, group, [name], "m"), kafka_writer.KafkaWriter(log._writing, unique("w"), PYTHON)
    turns(member)(lambda: bool(member.assigned), "the member is assigned")
    released, hung = threading.Event(), writer._producer

    class Hanging:
        def send_offsets_to_transaction(self, *args: Any) -> None:
            released.wait(30)
            hung.send_offsets_to_transaction(*args)

        def __getattr__(self, name: str) -> object:
            return getattr(hung, name)

    monkeypatch.setattr(writer, "_producer", Hanging())
    writer.begin()
    writer.write(output(name, [b"lost"]))
    with monkeypatch.context() as short:
        short.setattr(kafka_writer, "CALL_S", 0.3)
        short.setattr(kafka_writer, "GRACE_S", 0.0)
        with pytest.raises(TransactionAborted, match="the client hangs"):
            writer.send_offsets({tp: Position(1, 1)}, member.reader)
    writer.abort()
    released.set()  # the late call of the old producer must not touch what comes now
    commit(writer, output(name, [b"kept"]))
    assert values(log, name) == [b"kept"]
    assert member.reader.committed([tp]) == {tp: Position(0, 0)}
    writer.close()
    member.reader.close()


@pytest.mark.kafka
def test_a_property_kafka_does_not_know_is_a_config_error(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"no\.such\.property"):
        KafkaLog(settings.model_copy(update={"kafka": {"no.such.property": "1"}}))


@pytest.mark.kafka
@pytest.mark.parametrize("tracks", [True, False])
def test_a_record_the_broker_refuses_fails_the_commit_and_the_writer_goes_on(
    kafka: KafkaLog, unique: Unique, tracks: bool
) -> None:
    name = unique("t")
    kafka.create_topics({name: (1, {"max.message.bytes": "2000"})})
    writer = kafka.writer(unique("w"), tracks=tracks)
    writer.begin()
    writer.write(output(name, [*numbers(0, 100), bytes(5000), *numbers(100, 200)]))
    with pytest.raises(TransactionAborted):
        writer.commit()
    writer.abort()
    writer.begin()
    writer.write(output(name, numbers(200, 300)))
    writer.commit()
    assert values(kafka, name) == numbers(200, 300)


@pytest.mark.kafka
@pytest.mark.parametrize("tracks", [True, False])
def test_a_topic_that_vanishes_fails_the_transaction_and_is_named_after_it(
    kafka: KafkaLog, settings: Settings, unique: Unique, tracks: bool
) -> None:
    lasting, passing = topic(kafka, unique("t")), topic(kafka, unique("passing"))
    writer = kafka.writer(unique("w"), tracks=tracks)
    for name in (lasting, passing):
        writer.begin()
        writer.write(output(name, [b"before"]))
        writer.commit()
    admin = AdminClient({"bootstrap.servers": settings.bootstrap, **settings.kafka})
    admin.delete_topics([passing])[passing].result()
    writer.begin()
    writer.write(output(lasting, [b"lost"]))
    with pytest.raises(TransactionAborted):  # noqa: PT012
        writer.write(output(passing, numbers(0, 100)))
        writer.commit()
    writer.abort()
    writer.begin()
    writer.write(output(lasting, [b"lost too"]))
    with pytest.raises(ConfigError, match=f"no partition {passing}"):
        writer.write(output(passing, [b"x"]))
    writer.abort()
    writer.begin()
    writer.write(output(lasting, [b"after"]))
    writer.commit()
    assert values(kafka, lasting) == [b"before", b"after"]
