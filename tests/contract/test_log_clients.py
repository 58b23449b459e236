"""What the real clients keep to, whichever the transport."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from headrace.config import Settings
from headrace.errors import ConfigError, TransactionAborted
from headrace.kafka import python_transport as transports
from headrace.kafka import writer as kafka_writer
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Position, TopicPartition
from headrace.kafka.native import batch_writer as outlet
from headrace.kafka.python_transport import PYTHON
from headrace.topics.table import LARGEST_BATCH
from tests.contract.members import (
    TRANSPORTS,
    Member,
    Unique,
    commit,
    kafka_log,
    numbers,
    output,
    topic,
    turns,
    values,
)
from tests.waiting import wait_for

KAFKAS_LIMIT = 1_048_588
"""``max.message.bytes`` of a topic where nobody says otherwise."""


@pytest.mark.kafka
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("limit", [{}, {"queue.buffering.max.kbytes": "4"}])
def test_a_full_queue_makes_the_writers_wait_and_keeps_order(
    settings: Settings, unique: Unique, limit: dict[str, str], transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_writer, "QUEUE", 10)
    monkeypatch.setattr(transports, "SLICE", 300)
    monkeypatch.setattr(outlet, "SLICE", 300)
    log = kafka_log(settings.model_copy(update={"kafka": {**settings.kafka, **limit}}), transport)
    name = topic(log, unique("t"))
    sent = [v * (1 + 200 * (i % 3)) for i, v in enumerate(numbers(0, 1000))]
    writer = log.writer(unique("w"))
    writer.begin()
    writer.write(output(name, sent[:600]))
    [offsets] = writer.write_and_wait([output(name, sent[600:])])
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
    writer.write_and_wait([output(name, [b"too late"])])
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
    assert member.reader.committed([tp]) == {}
    writer.close()
    member.reader.close()


@pytest.mark.parametrize(
    ("made", "properties", "said"),
    [
        (lambda log: log, {"no.such.property": "1"}, "No such configuration property"),
        (lambda log: log, {"error_cb": "mine"}, "error_cb"),
        (lambda log: log.reader({}), {"fetch.wait.max.ms": "soon"}, "fetch.wait.max.ms"),
        (lambda log: log.group("g", ["t"], "m", Member), {"session.timeout.ms": "soon"}, "session.timeout.ms"),
        (lambda log: log.writer("w"), {"batch.size": "soon"}, "batch.size"),
        (lambda log: log.sender("s"), {"batch.size": "soon"}, "batch.size"),
    ],
)
def test_a_property_kafka_refuses_is_a_config_error(
    made: Callable[[KafkaLog], object], properties: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=f"^Kafka property refused: .*{re.escape(said)}"):
        made(KafkaLog(Settings(bootstrap="localhost:1", kafka=properties)))


@pytest.mark.kafka
@pytest.mark.parametrize("tracks", [True, False])
def test_a_record_the_broker_refuses_fails_the_commit_and_the_writer_goes_on(
    kafka: KafkaLog, unique: Unique, tracks: bool
) -> None:
    name = unique("t")
    kafka.create_topics({name: (1, {"max.message.bytes": "2000"})})
    writer = kafka.writer(unique("w"), tracks=tracks)
    writer.begin()
    writer.write(output(name, [*numbers(0, 100), random.Random(1).randbytes(5000), *numbers(100, 200)]))
    with pytest.raises(TransactionAborted):
        writer.commit()
    writer.abort()
    writer.begin()
    writer.write(output(name, numbers(200, 300)))
    writer.commit()
    assert values(kafka, name) == numbers(200, 300)


@pytest.mark.kafka
@pytest.mark.parametrize("tracks", [True, False])
@pytest.mark.parametrize(("limit", "tries"), [(LARGEST_BATCH, 1), (KAFKAS_LIMIT, 2)])
def test_full_batches_that_do_not_compress_fit_our_topics_and_smaller_ones_any(
    kafka: KafkaLog, unique: Unique, tracks: bool, limit: int, tries: int
) -> None:
    name = unique("t")
    kafka.create_topics({name: (1, {"max.message.bytes": str(limit)})})
    writer = kafka.writer(unique("w"), tracks=tracks)
    sent = [random.Random(i).randbytes(20_000) for i in range(400)]
    for _ in range(tries - 1):
        writer.begin()
        writer.write(output(name, sent))
        with pytest.raises(TransactionAborted):
            writer.commit()
        writer.abort()
    writer.begin()
    writer.write(output(name, sent))
    writer.commit()
    assert values(kafka, name) == sent


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
