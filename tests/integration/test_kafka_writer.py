"""What the writer asks of its client before a commit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headrace.config import Settings
from headrace.kafka import writer as kafka_writer
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Output, TopicPartition
from headrace.kafka.writer import KafkaWriter

pytestmark = pytest.mark.kafka


def test_less_than_a_request_is_left_for_the_last_flush(
    settings: Settings, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_writer, "DRAIN_S", 30.0)
    log, topic = KafkaLog(settings, "test"), unique("t")
    log.create_topics({topic: (1, {})})
    writer = log.writer(unique("w"), tracks=False)
    assert isinstance(writer, KafkaWriter)
    writer.begin()
    writer.write(Output(TopicPartition(topic, 0), [None] * 80_000, [bytes(100)] * 80_000))
    writer._drain()
    assert len(writer._producer) * 100 <= kafka_writer.FULL_BATCH
    writer.commit()
    writer.close()
