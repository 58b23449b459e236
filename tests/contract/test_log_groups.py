"""Consumer groups, as Kafka and its in-memory twin both keep to it. ``-m "not kafka"`` runs the twin alone."""

from __future__ import annotations

import contextlib
import threading

import pytest

from headrace.config import Settings
from headrace.errors import OffsetGone, TransactionAborted, Unavailable
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Log, Position, TopicPartition
from headrace.kafka.memory import MemoryLog
from tests.contract.members import (
    Join,
    Member,
    Unique,
    both,
    commit,
    drop_before,
    numbers,
    output,
    topic,
    turns,
    values,
)
from tests.waiting import wait_for


@both
def test_partitions_come_paused_and_flow_when_resumed(log: Log, unique: Unique, join: Join) -> None:
    name = topic(log, unique("t"), 2)
    commit(log.writer(unique("w")), output(name, [b"a"], 0), output(name, [b"b"], 1))
    member = join(unique("g"), [name], "m")
    until = turns(member)
    until(lambda: bool(member.assigned), "the member is assigned")
    member.start()
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
    member.start()
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
    assert member.reader.committed([zero, one, two]) == {}
    writer.begin()
    writer.send_offsets({zero: Position(5, 2)}, member.reader)
    writer.send_offsets({one: Position(1, 0), zero: Position(7, 3, "of-then")}, member.reader)
    writer.commit()
    writer.begin()
    writer.send_offsets({zero: Position(9, 9)}, member.reader)
    writer.abort()
    expected = {zero: Position(7, 3, "of-then"), one: Position(1, 0)}
    assert member.reader.committed([zero, one, two]) == expected
    assert member.reader.committed([]) == {}
    member.reader.close()
    heir = join(group, [name], "heir")
    until = turns(heir)
    until(lambda: bool(heir.assigned), "the heir is assigned")
    assert heir.reader.committed([zero, one, two]) == expected
    heir.start()
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

    for commits, expected in [(False, {}), (True, {tp: Position(3, 1)})]:
        writer = log.writer(unique("w"))
        writer.begin()
        writer.send_offsets({tp: Position(3, 1)}, member.reader)
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(0.5)
        assert told == []
        (writer.commit if commits else writer.abort)()
        thread.join(10)
        assert told == [expected]
        told.clear()


@both
def test_rewind_goes_back_and_leaves_the_partitions_paused(log: Log, unique: Unique, join: Join) -> None:
    name = topic(log, unique("t"), 2)
    zero, one = TopicPartition(name, 0), TopicPartition(name, 1)
    commit(log.writer(unique("w")), output(name, numbers(0, 5), 0), output(name, numbers(0, 5), 1))
    member = join(unique("g"), [name], "m")
    until = turns(member)
    until(lambda: bool(member.assigned), "the member is assigned")
    member.start()
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
    member.start()
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
    b.start()
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
    a.start()
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
    writer.write_and_wait([output(out, [b"zombie"])])
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


@both
def test_what_was_to_come_next_and_is_gone_is_told_and_the_group_goes_on_from_a_rewind(
    log: Log, unique: Unique, join: Join
) -> None:
    name = topic(log, unique("t"))
    tp = TopicPartition(name, 0)
    commit(log.writer(unique("w")), output(name, numbers(0, 10)))
    member = join(unique("g"), [name], "m")
    until = turns(member)
    until(lambda: bool(member.assigned), "the member is assigned")
    drop_before(log, tp, 4)
    member.reader.rewind({tp: 1})
    member.reader.resume([tp])
    told: list[str] = []

    def gone() -> bool:
        try:
            member.poll()
        except OffsetGone as e:
            told.append(str(e))
        return bool(told)

    wait_for(gone, 20, "the gap is told")
    assert told[0].startswith(f"{tp}: ")
    assert member.read == []
    member.reader.rewind({tp: 4})
    member.reader.resume([tp])
    until(lambda: len(member.read) == 6, "the rest is read")
    assert member.read == [(tp, o) for o in range(4, 10)]
