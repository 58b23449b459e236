"""Topics and sending, as Kafka and its in-memory twin both keep to it. ``-m "not kafka"`` runs the twin alone."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from headrace.errors import ConfigError
from headrace.kafka.log import Log, read_all
from headrace.kafka.partitioner import murmur2, partition_of
from tests.contract.members import (
    Unique,
    both,
    commit,
    content,
    delete_topic,
    numbers,
    output,
    topic,
    values,
)
from tests.waiting import wait_for


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


@both
def test_a_topic_made_again_is_another(log: Log, unique: Unique) -> None:
    name, other = topic(log, unique("t")), topic(log, unique("other"))
    before = log.topic_ids([name, other])
    assert sorted(before) == sorted([name, other])
    assert len(set(before.values())) == 2
    assert log.topic_ids([name, other]) == before
    delete_topic(log, name)
    assert topic(log, name) == name
    after = log.topic_ids([name, other])
    assert (after[other], after[name] != before[name]) == (before[other], True)
    with pytest.raises(ConfigError, match="run `headrace init PIPELINE` first"):
        log.topic_ids([unique("nowhere")])


@both
def test_a_topic_keeps_records_for_as_long_as_it_is_told(log: Log, unique: Unique) -> None:
    name = unique("t")
    log.create_topics({name: (1, {"retention.ms": "3600000"})})
    assert log.retention(name) == timedelta(hours=1)
    log.keep_for(name, timedelta(days=30))
    assert wait_for(lambda: log.retention(name) == timedelta(days=30), 10, "the broker tells the new one")
