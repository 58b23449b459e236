"""A member whose group does not answer joins it anew, on a real Kafka: it costs nobody anything."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import pytest
from confluent_kafka import Consumer

from headrace.config import Settings
from headrace.kafka import reader
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import TopicPartition
from headrace.kafka.reader import CONSUMER
from tests.waiting import wait_for

pytestmark = pytest.mark.kafka


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.assigned: list[TopicPartition] = []

    def on_assigned(self, tps: Sequence[TopicPartition]) -> None:
        self.assigned = list(tps)

    def on_revoked(self, tps: Sequence[TopicPartition]) -> None:
        self.assigned = []

    def on_lost(self, tps: Sequence[TopicPartition]) -> None:
        self.assigned = []


def test_a_member_that_is_not_answered_joins_anew_and_gets_its_share_in_the_end(
    settings: Settings, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another member is in the group that does not poll: it lives, and holds the rebalance up."""
    topic, group = unique("in"), unique("g")
    log = KafkaLog(settings, "test")
    log.create_topics({topic: (2, {})})
    busy = Consumer({**CONSUMER, "bootstrap.servers": settings.bootstrap, "group.id": group})
    busy.subscribe([topic])
    wait_for(lambda: busy.poll(0.1) is not None or bool(busy.assignment()), 30, "the other member's partitions")
    monkeypatch.setattr(reader, "REJOIN_S", 0.5)
    caplog.set_level(logging.WARNING, logger="headrace.kafka.reader")
    listener = Listener()
    mine = log.group(group, [topic], "mine", listener)
    try:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            mine.poll(10, 0.1)
        assert listener.assigned == []
        assert caplog.text.count("joins its group anew") >= 2
        monkeypatch.setattr(reader, "REJOIN_S", 60.0)

        def shared() -> bool:
            busy.poll(0.05)
            mine.poll(10, 0.05)
            return len(listener.assigned) == 1 and len(busy.assignment()) == 1

        wait_for(shared, 60, "a partition each")
    finally:
        mine.close()
        busy.close()
