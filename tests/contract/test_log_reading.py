"""Reading by offset, as Kafka and its in-memory twin both keep to it. ``-m "not kafka"`` runs the twin alone."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest

from headrace.errors import HeadraceError, RecordsLost, Unavailable
from headrace.kafka.log import Log, Reader, TopicPartition, read_range
from tests.contract.members import (
    Unique,
    abort,
    both,
    commit,
    drop_before,
    numbers,
    output,
    settled,
    topic,
)
from tests.waiting import wait_for


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
    writer.write_and_wait([output(name, [b"b"])])
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


@both
def test_a_reader_says_what_is_gone_and_never_jumps_over_it(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    tp = TopicPartition(name, 0)
    commit(log.writer(unique("w")), output(name, numbers(0, 10)))
    drop_before(log, tp, 7)
    for start, error, said in (
        (2, RecordsLost, f"{tp}: offsets 2 to 6 are gone: Kafka dropped them before they were read"),
        (99, Unavailable, f"{tp} ends at offset 11, and it was read up to 99 before: "),
    ):
        reader = log.reader({tp: start})
        found: list[HeadraceError] = []

        def refused(reader: Reader = reader, found: list[HeadraceError] = found) -> bool:
            try:
                assert reader.poll(100, 0.05) == []
            except HeadraceError as e:
                found.append(e)
            return bool(found)

        wait_for(refused, 20, "it is told")
        reader.close()
        assert (type(found[0]), str(found[0])[: len(said)]) == (error, said)
