"""Processor time of one event from a service: ``EventProducer.send`` beside fastavro and confluent-kafka by hand.

``python -m bench.events BOOTSTRAP REGISTRY COUNT ROUNDS``: sends COUNT events a run, ROUNDS runs of each in turn, and
prints for each shape of event the microseconds of processor time an event took, of all threads of the process, up to
the end of the flush: every run of ours, and the baseline around it.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import fastavro
import polars as pl
from confluent_kafka import Producer

from bench.pipeline import declared
from headrace.client.events import EventProducer
from headrace.config import Settings, load_settings
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.writer import PRODUCER, QUEUE
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics

WARM = 2_000
FLUSH_S = 60.0
_MICROS = {"type": "long", "logicalType": "timestamp-micros"}
_HEAD: list[dict[str, Any]] = [
    {"name": "id", "type": "string"},
    {"name": "sensor", "type": "string"},
    {"name": "at", "type": _MICROS},
]
_BODY: list[dict[str, Any]] = [
    {"name": "x0", "type": "double"},
    {"name": "x1", "type": "double"},
    {"name": "x2", "type": "double"},
    {"name": "count", "type": "long"},
    {"name": "level", "type": "int"},
    {"name": "ok", "type": "boolean"},
    {"name": "failed", "type": ["null", "boolean"], "default": None},
]
_POINT = {"type": "record", "name": "Point", "fields": _BODY[:3]}
_STATE = {"type": "record", "name": "State", "fields": _BODY[3:6]}
SHAPES: dict[str, list[dict[str, Any]]] = {
    "flat": _HEAD + _BODY,
    "nested": [*_HEAD, {"name": "point", "type": _POINT}, {"name": "state", "type": _STATE}, _BODY[6]],
}
"""Ten fields that hold a value, at the top or in two records."""


def event_of(shape: str, n: int) -> dict[str, Any]:
    """An event of a shape."""
    head = {"id": f"i{n:07d}", "sensor": f"sensor{n % 512:03d}", "at": datetime.now(UTC)}
    point = {"x0": n * 0.001, "x1": n * 0.7, "x2": 1.0 / (n + 1)}
    state = {"count": n, "level": n % 100, "ok": n % 3 == 0}
    last = {"failed": None if n % 2 else True}
    return head | (point | state if shape == "flat" else {"point": point, "state": state}) | last


def main() -> None:
    """Measure every shape in turn."""
    bootstrap, registry, count, rounds = sys.argv[1:]
    settings = load_settings(bootstrap=bootstrap, registry_url=registry)
    print(json.dumps({shape: _measured(settings, shape, int(count), int(rounds)) for shape in SHAPES}))


def _features(events: pl.DataFrame) -> pl.DataFrame:
    """What a pipeline must have; nobody runs it here."""
    return events.select("offset", x=pl.lit(1.0))


Send = Callable[[Sequence[Mapping[str, Any]]], None]


def _measured(settings: Settings, shape: str, count: int, rounds: int) -> dict[str, list[float]]:
    raw = {"type": "record", "name": "Reading", "fields": SHAPES[shape]}
    pipeline = replace(declared(f"bench-events-{shape}"), raw=raw, features=_features)
    topics = PipelineTopics(pipeline, KafkaLog(settings, "bench-events"), ConfluentRegistry(settings))
    topics.init()
    events = [event_of(shape, n) for n in range(count)]
    ours, theirs = _ours(topics), _by_hand(topics, settings)
    for send in (ours, theirs):
        send(events[:WARM])
    gc.collect()
    gc.freeze()
    found: dict[str, list[float]] = {"ours": [], "baseline": []}
    before = _processor_us(theirs, events)
    for _ in range(rounds):
        found["ours"].append(_processor_us(ours, events))
        after = _processor_us(theirs, events)
        found["baseline"].append((before + after) / 2)
        before = after
    return found


def _processor_us(send: Send, events: Sequence[Mapping[str, Any]]) -> float:
    began = time.process_time()
    send(events)
    return (time.process_time() - began) / len(events) * 1e6


def _ours(topics: PipelineTopics) -> Send:
    producer = EventProducer(topics, "bench-events")

    def send(events: Sequence[Mapping[str, Any]]) -> None:
        for event in events:
            producer.send(event)
        producer.flush(FLUSH_S)

    return send


def _by_hand(topics: PipelineTopics, settings: Settings) -> Send:
    """What a service would write itself: no value checked by hand, no report taken before the flush."""
    conf = {**PRODUCER, "queue.buffering.max.messages": QUEUE, "bootstrap.servers": settings.bootstrap}
    producer = Producer(conf)
    parsed = fastavro.parse_schema(dict(topics.pipeline.raw))
    topic, header = topics.topic("raw"), topics.codec("raw").header()

    def send(events: Sequence[Mapping[str, Any]]) -> None:
        for event in events:
            out = BytesIO()
            out.write(header)
            fastavro.schemaless_writer(out, parsed, event)
            producer.produce(topic, out.getvalue(), event["sensor"])
        producer.flush(FLUSH_S)

    return send


if __name__ == "__main__":
    main()
