"""A sender on either log: one record at a time, who is told of it, and its end."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer, KafkaError, Message
from confluent_kafka import TopicPartition as KafkaPartition

from headrace.config import Settings
from headrace.errors import HeadraceError
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import LARGEST, Headers, Log, read_all
from headrace.kafka.partitioner import partition_of
from tests.contract.members import Unique, both, numbers, topic, values
from tests.waiting import wait_for

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)
THREADS, EACH, PARTITIONS = 8, 1500, 5


class Told:
    """Notes what a sender tells of its records."""

    def __init__(self) -> None:
        self.of: list[tuple[KafkaError | None, Message]] = []

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        self.of.append((error, message))

    @property
    def places(self) -> list[tuple[str | None, int | None, int | None, bytes | None, bytes | None]]:
        assert {error for error, _ in self.of} <= {None}
        return [(m.topic(), m.partition(), m.offset(), m.key(), m.value()) for _, m in self.of]


@both
def test_each_record_is_told_once_with_its_place_though_nobody_sends_more(log: Log, unique: Unique) -> None:
    name, told = topic(log, unique("t"), 3), Told()
    sender = log.sender(unique("s"))
    sent = numbers(0, 300)
    for value in sent:
        assert sender.offer(name, value, value, on_delivery=told)
    wait_for(lambda: len(told.of) == len(sent), 20, "all to be told")
    stand = {
        (name, chunk.tp.partition, offset, key, value)
        for chunk in read_all(log, name)
        for offset, key, value in zip(chunk.offsets.tolist(), chunk.keys, chunk.values, strict=True)
    }
    assert set(told.places) == stand
    assert {(partition, key) for _, partition, _, key, _ in stand} == {(partition_of(v, 3), v) for v in sent}


@both
def test_a_flush_ends_after_those_who_asked_were_told(log: Log, unique: Unique) -> None:
    name, told = topic(log, unique("t")), Told()
    sender = log.sender(unique("s"))
    for value in numbers(0, 50):
        sender.offer(name, b"k", value, on_delivery=told)
    sender.flush()
    assert [place[2] for place in told.places] == list(range(50))


@both
def test_a_callback_that_fails_or_sends_spoils_nothing(log: Log, unique: Unique) -> None:
    name, told = topic(log, unique("t")), Told()
    sender = log.sender(unique("s"))

    def fails(error: KafkaError | None, message: Message) -> None:
        raise ValueError("the user's own")

    def sends(error: KafkaError | None, message: Message) -> None:
        sender.offer(name, b"k", b"from a callback", on_delivery=told)

    sender.offer(name, b"k", b"a", on_delivery=fails)
    sender.offer(name, b"k", b"b", on_delivery=sends)
    wait_for(lambda: len(told.of) == 1, 20, "the record of the callback")
    sender.flush()
    assert values(log, name) == [b"a", b"b", b"from a callback"]


@both
def test_a_record_carries_the_time_it_is_given(log: Log, unique: Unique) -> None:
    name, told = topic(log, unique("t")), Told()
    sender = log.sender(unique("s"))
    for minutes in range(3):
        at = int((AT + timedelta(minutes=minutes)).timestamp() * 1000)
        sender.offer(name, b"k", b"v", timestamp=at, on_delivery=told)
    sender.flush()
    assert [m.timestamp()[1] for _, m in told.of] == [int(AT.timestamp() * 1000) + 60_000 * i for i in range(3)]
    assert log.offsets_at(name, AT + timedelta(seconds=30)) == {0: 1}


@both
def test_records_one_by_one_and_in_bulk_keep_one_order(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    sender = log.sender(unique("s"))
    for start in range(0, 2000, 20):
        sender.send(name, [b"k"] * 19, numbers(start, start + 19))
        sender.offer(name, b"k", str(start + 19).encode())
    sender.flush()
    assert values(log, name) == numbers(0, 2000)


@both
def test_a_closed_sender_has_sent_all_and_takes_no_more(log: Log, unique: Unique) -> None:
    name = topic(log, unique("t"))
    sender = log.sender(unique("s"))
    sender.offer(name, b"k", b"a")
    sender.close()
    sender.close()
    with pytest.raises(HeadraceError, match=r"^this producer is closed, and nothing was sent"):
        sender.offer(name, b"k", b"b")
    with pytest.raises(HeadraceError, match=r"^this producer is closed, and nothing was sent"):
        sender.send(name, [b"k"], [b"b"])
    assert values(log, name) == [b"a"]


@both
def test_a_record_that_is_too_large_is_refused_alone(log: Log, unique: Unique) -> None:
    name, told = topic(log, unique("t")), Told()
    sender = log.sender(unique("s"))
    sender.offer(name, b"k", b"a")
    with pytest.raises(HeadraceError, match=rf"over {LARGEST} bytes"):
        sender.offer(name, b"k", bytes(LARGEST), on_delivery=told)
    sender.flush()
    assert (values(log, name), told.of) == ([b"a"], [])


@both
@pytest.mark.parametrize("bulk", [1, 50])
def test_threads_that_share_a_sender_lose_double_and_mix_nothing(log: Log, unique: Unique, bulk: int) -> None:
    """8 threads, 12,000 records, a switch of threads as often as there can be: the exact multiset comes out."""
    name = topic(log, unique("t"), PARTITIONS)
    sender = log.sender(unique("s"))
    sent = [
        [(f"k{thread}-{i % 7}".encode(), f"{thread}-{i}".encode()) for i in range(EACH)] for thread in range(THREADS)
    ]

    def send(records: list[tuple[bytes, bytes]]) -> None:
        for start in range(0, EACH, bulk):
            keys, contents = zip(*records[start : start + bulk], strict=True)
            if bulk == 1:
                assert sender.offer(name, keys[0], contents[0])
            else:
                sender.send(name, keys, contents)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=send, args=(records,)) for records in sent]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    sender.flush()
    found = Counter(
        (key, value, chunk.tp.partition)
        for chunk in read_all(log, name)
        for key, value in zip(chunk.keys, chunk.values, strict=True)
    )
    assert found == Counter((k, v, partition_of(k, PARTITIONS)) for records in sent for k, v in records)


@pytest.mark.kafka
@pytest.mark.parametrize("given", [{"trace": "t1", "raw": b"\x00\xff", "none": None}, [("a", b"1"), ("a", "2")]])
def test_headers_arrive(kafka: KafkaLog, settings: Settings, unique: Unique, given: Headers) -> None:
    name = topic(kafka, unique("t"))
    sender = kafka.sender(unique("s"))
    sender.offer(name, b"k", b"v", headers=given)
    sender.flush()
    consumer = Consumer({"bootstrap.servers": settings.bootstrap, "group.id": unique("g"), **settings.kafka})
    consumer.assign([KafkaPartition(name, 0, 0)])
    read = wait_for(lambda: consumer.poll(0.1), 20, "the record")
    assert read is not None
    consumer.close()
    pairs = given.items() if isinstance(given, Mapping) else given
    assert read.headers() == [(n, v.encode() if isinstance(v, str) else v) for n, v in pairs]
