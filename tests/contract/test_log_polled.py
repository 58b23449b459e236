"""The polled sender and the look for headers: the same on Kafka and on its twin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import KafkaError, Message

from headrace.errors import HeadraceError
from headrace.kafka.log import LARGEST, Log
from tests.contract.members import both
from tests.waiting import wait_for


@both
def test_a_polled_sender_tells_its_user_alone_where_each_record_stands(log: Log, unique: Callable[[str], str]) -> None:
    topic = unique("polled")
    log.create_topics({topic: (3, {})})
    sender = log.polled_sender("polled")
    told: dict[bytes, tuple[int, int]] = {}

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        assert error is None
        told[message.value() or b""] = (message.partition() or 0, message.offset() or 0)

    for i in range(50):
        assert sender.offer(topic, b"k%d" % (i % 7), b"v%d" % i, [("n", b"%d" % i)] if i % 2 else [], on_delivery)
    assert told == {}
    wait_for(lambda: (sender.poll(), len(told) == 50)[1], 20, "every report")
    with pytest.raises(HeadraceError, match="make it smaller"):
        sender.offer(topic, b"k", bytes(LARGEST + 100), [], on_delivery)
    found = list(log.headed(topic, "n", datetime.now(UTC) - timedelta(minutes=1)))
    assert Counter(h.header for h in found) == Counter(b"%d" % i for i in range(50) if i % 2)
    assert {h.value: (h.tp.partition, h.offset) for h in found} == {v: at for v, at in told.items() if int(v[1:]) % 2}
    assert list(log.headed(topic, "other", datetime.now(UTC) - timedelta(minutes=1))) == []
    assert list(log.headed(topic, "n", datetime.now(UTC) + timedelta(minutes=1))) == []
    assert sender.close(20) == 0
