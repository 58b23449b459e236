"""The timestamps that Kafka keeps with records: readers give them, members of a group where they are asked for."""

from __future__ import annotations

from headrace.kafka.log import Chunk, Log, TopicPartition, read_all
from tests.contract.members import Member, Unique, both, commit, output, topic
from tests.waiting import wait_for

MOMENTS = [1_600_000_000_123, 1_500_000_000_000, 1_600_000_000_124, 1]


def _sent(log: Log, name: str) -> None:
    sender = log.sender("s")
    for moment in MOMENTS:
        assert sender.offer(name, b"k", b"v", timestamp=moment)
    sender.close()


def _read(log: Log, group: str, name: str, *, timed: bool) -> list[Chunk]:
    """The chunks that a member reads of a topic."""
    member = Member(log, group, [name], f"{group}-0", timed=timed)
    chunks: list[Chunk] = []

    def turn() -> bool:
        chunks.extend(member.reader.poll(3, 0.005))
        if member.assigned and not chunks:
            member.start()
            member.reader.resume(sorted(member.assigned))
        return sum(map(len, chunks)) == len(MOMENTS)

    wait_for(turn, 30, "the records")
    member.reader.close()
    return chunks


@both
def test_readers_and_timed_members_give_each_record_its_timestamp(log: Log, unique: Unique) -> None:
    name = topic(log, unique("timed"))
    _sent(log, name)
    for chunks in (list(read_all(log, name, 3)), _read(log, unique("g"), name, timed=True)):
        assert [t for c in chunks for t in (() if c.timestamps is None else c.timestamps.tolist())] == MOMENTS
    assert {c.timestamps is None for c in _read(log, unique("g"), name, timed=False)} == {True}


@both
def test_records_of_a_transaction_have_the_time_at_which_they_were_written(log: Log, unique: Unique) -> None:
    name = topic(log, unique("now"))
    writer = log.writer(unique("w"))
    commit(writer, output(name, [b"a", b"b"]))
    (chunk,) = read_all(log, name, settled=True)
    assert chunk.timestamps is not None
    assert (chunk.timestamps > MOMENTS[0]).all()


def test_timestamps_stay_with_their_records_however_a_chunk_is_cut() -> None:
    tp = TopicPartition("t", 0)
    chunk = Chunk.of(tp, [1, 2, 3, 5], [None] * 4, [b"a", b"b", b"c", b"d"], [10, 20, 30, 50])
    again = chunk.slice(0, 1).followed_by(chunk.slice(1))
    for whole in (chunk, again, chunk.rising(0)):
        assert whole.timestamps is not None
        assert dict(zip(whole.offsets.tolist(), whole.timestamps.tolist(), strict=True)) == {1: 10, 2: 20, 3: 30, 5: 50}
    doubled = Chunk.of(tp, [1, 2, 1, 3], [None] * 4, [b"a"] * 4, [10, 20, 11, 30]).rising(2)
    assert doubled.timestamps is not None
    assert (doubled.offsets.tolist(), doubled.timestamps.tolist()) == ([2, 3], [20, 30])
    assert Chunk.of(tp, [1], [None], [b"a"]).followed_by(chunk.slice(1)).timestamps is None
