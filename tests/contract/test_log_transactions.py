"""Transactions, as Kafka and its in-memory twin both keep to it. ``-m "not kafka"`` runs the twin alone."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from headrace.codec.column import BytesColumn
from headrace.errors import ConfigError, Fenced, HeadraceError
from headrace.kafka.log import LARGEST, Log, Output, Position, TopicPartition, read_all
from tests.contract.members import (
    Join,
    Unique,
    abort,
    both,
    commit,
    content,
    numbers,
    output,
    settled,
    topic,
    turns,
    values,
    whole,
)
from tests.waiting import wait_for


@both
def test_a_transaction_shows_in_all_topics_and_partitions_or_in_none(log: Log, unique: Unique) -> None:
    one, two = topic(log, unique("one"), 2), topic(log, unique("two"))
    writer = log.writer(unique("w"))
    writer.begin()
    writer.write_and_wait([output(one, [b"a"], 0), output(one, [b"b"], 1), output(two, [b"c"])])
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
    slow.write_and_wait([output(name, [b"open"])])  # 2
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
    writer.write_and_wait([output(name, [b"late"])])
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
    writer.write_and_wait([output(name, [b"open"])])  # 4
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
        writer.write_and_wait([output(name, [b"a"])])
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
    old.write_and_wait([output(name, [b"zombie"])])
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
        old.write_and_wait([output(name, [b"zombie"])])
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
        writes.append(lambda o: writer.write_and_wait([o]))
    for write in writes:
        writer.begin()
        with pytest.raises(HeadraceError, match=r"a record for .*\[0\] is over 3000000 bytes"):
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
    writer.write(output(name, numbers(0, 100), 1))
    with pytest.raises(ConfigError, match=rf"no partition {re.escape(name)}\[7\]: run `headrace init"):
        writer.write(output(name, numbers(100, 200), 7))
    writer.abort()
    writer.begin()
    writer.write(output(name, [b"after"]))
    writer.commit()
    assert values(log, name) == [b"before", b"after"][not known :]
