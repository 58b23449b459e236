"""The door of any Kafka client: Avro in the Confluent wire format, by Confluent's own serializer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from headrace.config import Settings
from headrace.kafka.partitioner import partition_of
from headrace.testing.pipelines import RAW, clicks
from tests.integration.platform import Platform

pytestmark = pytest.mark.kafka


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("toy"), settings, tmp_path)


def test_events_of_confluents_own_serializer_are_taken(platform: Platform) -> None:
    """As docs/ingest.md has it."""
    topic = platform.topics.topic("raw")
    registry = SchemaRegistryClient({"url": platform.settings.registry_url})
    serialize = AvroSerializer(
        registry,
        json.dumps(RAW),
        conf={"auto.register.schemas": False, "subject.name.strategy": topic_record_subject_name_strategy},
    )
    producer = Producer({"bootstrap.servers": platform.settings.bootstrap, "partitioner": "murmur2_random"})
    rows = clicks(0, 50)
    for event in rows.iter_rows(named=True):
        value = serialize(event, SerializationContext(topic, MessageField.VALUE))
        producer.produce(topic, key=event["user"], value=value)
    producer.flush(30)
    with platform.running("preprocess-0"):
        found = platform.wait_rows("features", 50)
    assert sorted(found["id"]) == sorted(f"c{i}" for i in range(50))
    partitions = platform.topics.pipeline.partitions
    raw = platform.rows("raw")
    assert all(p == partition_of(user.encode(), partitions) for p, user in zip(raw["p"], raw["user"], strict=True))
    assert platform.rows("dead").height == 0
