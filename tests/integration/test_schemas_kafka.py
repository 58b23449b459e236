"""Schemas as they live, on the real stack: several writers, types of other subjects, ids in headers, new columns."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient

from headrace.codec.topic import TopicCodec
from headrace.codec.wire import header
from headrace.config import Settings
from headrace.declare.pipeline import Pipeline
from headrace.errors import SchemaError
from headrace.kafka.log import read_all
from headrace.schema.records import DeadLetter
from headrace.testing.pipelines import RAW, clicks, features
from headrace.topics.evolution import steps
from headrace.topics.pipeline_topics import PipelineTopics
from tests.contract.members import TRANSPORTS, kafka_log
from tests.evolving import FIELDS, WIDER, evolved
from tests.evolving import REFERENCE as NEW
from tests.integration.platform import Platform, stop

A_PUSH = 50
"""Clicks of one push."""


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("toy"), settings, tmp_path)


def letters(platform: Platform) -> list[DeadLetter]:
    found = (
        r for c in read_all(platform.log, platform.topics.topic("dead")) for _, r in platform.topics.control_records(c)
    )
    return [r for r in found if isinstance(r, DeadLetter)]


def body(schema: Mapping[str, Any], row: Mapping[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(dict(schema))), row)
    return out.getvalue()


def push(platform: Platform, rows: pl.DataFrame, schema: dict[str, Any]) -> None:
    raw = platform.topics.topic("raw")
    codec = TopicCodec(raw, [schema], platform.topics.registry)
    sender = platform.log.sender("test")
    sender.send(raw, [u.encode() for u in rows["user"]], codec.encode(rows.with_columns(via=pl.lit("new"))))
    sender.flush()


def test_producers_and_workers_change_their_schema_there_and_back_under_load_and_no_row_changes(
    platform: Platform, settings: Settings, tmp_path: Path
) -> None:
    rows = clicks(0, 1200, labelled=False)
    parts = iter(rows.iter_slices(A_PUSH))
    with platform.running("preprocess-0", "preprocess-1") as children:
        for _ in range(4):
            push(platform, next(parts), RAW)
        evolved_platform = Platform(platform.topics.pipeline.name, settings, tmp_path, declared=evolved, reference=NEW)
        for i in range(8):  # the workers that run know the old declaration only
            push(platform, next(parts), WIDER if i % 2 else RAW)
        with evolved_platform.running("preprocess-2"):
            stop(children["preprocess-0"])
            for i in range(6):  # an old worker and a new one, side by side
                push(platform, next(parts), WIDER if i % 2 else RAW)
            stop(children["preprocess-1"])
            push(platform, next(parts), WIDER)
            push(platform, next(parts), RAW)
    with platform.running("preprocess-3"):  # and back
        for i, part in enumerate(parts):
            push(platform, part, WIDER if i % 2 else RAW)
        made = platform.wait_rows("features", rows.height)
    assert sorted(made["id"]) == sorted(rows["click_id"])
    assert dict(zip(made["id"], made["price"], strict=True)) == dict(zip(rows["click_id"], rows["price"], strict=True))
    assert letters(platform) == []


def test_types_of_other_subjects_are_read_and_one_that_names_a_guid_is_a_dead_letter(platform: Platform) -> None:
    topics, raw = platform.topics, platform.topics.topic("raw")
    client = SchemaRegistryClient({"url": platform.settings.registry_url})
    place = {"type": "record", "name": "Place", "namespace": "acme", "fields": [{"name": "city", "type": "string"}]}
    address = {"type": "record", "name": "Address", "namespace": "acme", "fields": [{"name": "at", "type": "Place"}]}
    writer = {**RAW, "fields": [*FIELDS, {"name": "home", "type": ["null", "acme.Address"], "default": None}]}
    name = topics.pipeline.name
    client.register_schema(f"{name}-place", Schema(str_of(place), "AVRO"))
    refers = SchemaReference("acme.Place", f"{name}-place", 1)
    client.register_schema(f"{name}-address", Schema(str_of(address), "AVRO", [refers]))
    refers = SchemaReference("acme.Address", f"{name}-address", 1)
    schema_id = client.register_schema(f"{raw}-Click", Schema(str_of(writer), "AVRO", [refers]))
    whole = topics.registry.schema_of(schema_id)
    assert whole is not None
    [row] = clicks(0, 1, labelled=False).to_dicts()
    framed = header(schema_id) + body(whole, {**row, "home": {"at": {"city": "Oslo"}}})
    platform.push_bytes([b"\1" + uuid.uuid4().bytes + framed[5:], framed])
    with platform.running("preprocess-0"):
        assert platform.wait_rows("features", 1)["id"].to_list() == ["c0"]
    assert [(d.offset, d.code) for d in letters(platform)] == [(0, "wrong_magic")]


def str_of(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_id_that_comes_in_a_header_is_put_before_its_value(
    transport: str, settings: Settings, unique: Callable[[str], str]
) -> None:
    log = kafka_log(settings, transport)
    topic = unique("headed")
    log.create_topics({topic: (1, {}), f"{topic}-other": (1, {})})
    log.carry_ids([topic])
    guid = b"\1" + uuid.uuid4().bytes
    sent: list[tuple[bytes | None, list[tuple[str, str | bytes | None]]]] = [
        (b"plain", []),
        (b"body", [("trace", b"x"), ("__value_schema_id", guid)]),
        (b"", [("__value_schema_id", header(7))]),
        (b"last", [("__value_schema_id", header(7)), ("__value_schema_id", guid), ("z", None)]),
        (None, [("__value_schema_id", guid)]),
        (b"long", [("__value_schema_id", guid + b"more")]),
        (b"none", [("__value_schema_id", None), ("__key_schema_id", guid)]),
        (header(7) + b"numbered", []),
        (header(7) + b"and a body that begins so", [("__value_schema_id", guid)]),
        *((header(n) + b"numbered", []) for n in range(9)),
        (bytes(5), [("__value_schema_id", guid)]),
    ]
    producer = Producer({"bootstrap.servers": settings.bootstrap})
    for name in (topic, f"{topic}-other"):
        for value, headers in sent:
            producer.produce(name, value, partition=0, headers=headers)
    producer.flush()
    wanted = [b"plain", guid + b"body", header(7), guid + b"last", None, b"long", b"none"]
    wanted += [header(7) + b"numbered", guid + header(7) + b"and a body that begins so"]
    wanted += [*(header(n) + b"numbered" for n in range(9)), guid + bytes(5)]
    assert [v for c in read_all(log, topic) for v in c.values] == wanted
    assert [v for c in read_all(log, f"{topic}-other") for v in c.values] == [v for v, _ in sent]


def test_a_record_whose_schema_id_is_in_a_header_becomes_a_row(platform: Platform) -> None:
    topics = platform.topics
    raw_id = topics.registry.schema_id(f"{topics.topic('raw')}-Click", RAW)
    producer = Producer({"bootstrap.servers": platform.settings.bootstrap})
    rows = clicks(0, 20, labelled=False).to_dicts()
    for i, row in enumerate(rows):
        value = body(RAW, row)
        if i % 2:
            producer.produce(topics.topic("raw"), value, b"user0", headers=[("__value_schema_id", header(raw_id))])
        else:
            producer.produce(topics.topic("raw"), header(raw_id) + value, b"user0")
    producer.flush()
    with platform.running("preprocess-0"):
        made = platform.wait_rows("features", len(rows))
    assert sorted(made["id"]) == sorted(r["click_id"] for r in rows)
    assert letters(platform) == []


def with_ratio(events: pl.DataFrame) -> pl.DataFrame:
    return features(events).with_columns(ratio=pl.col("price") * 2)


def widened(pipeline: Pipeline, **more: Any) -> Pipeline:
    return replace(pipeline, features=with_ratio, **more)


def test_a_features_schema_gains_a_column(platform: Platform) -> None:
    old = platform.topics
    platform.push(clicks(0, 30, labelled=False))
    with platform.running("preprocess-0"):
        platform.wait_rows("features", 30)
    bare = PipelineTopics(widened(old.pipeline), old.log, old.registry)
    blocked = [s.what for s in steps(bare.subjects(), ())]
    assert blocked == [
        f"{bare.topic(name)}: field ratio is new and has no default, so older records cannot be read: name it in the "
        "pipeline's added=('ratio',): older records then have null there"
        for name in ("features", "examples")
    ]
    with pytest.raises(SchemaError, match="is not BACKWARD_TRANSITIVE with those registered before"):
        bare.init()
    new = PipelineTopics(widened(old.pipeline, added=("ratio",)), old.log, old.registry)
    planned = steps(new.subjects(), ())
    assert [s.blocked for s in planned] == [False] * 4
    assert [s.state for s in new.subjects()] == ["registered", "changed", "changed"]
    new.init()
    assert [s.state for s in new.subjects()] == ["registered"] * 3
    rows = [
        r
        for c in read_all(new.log, new.topic("features"))
        for r in new.codec("features").decode(c.values).frame()["ratio"]
    ]
    assert rows == [None] * 30
    old_codec = old.codec("features")
    [written] = (
        new.codec("features")
        .encode(
            pl.DataFrame(
                {
                    "id": ["x"],
                    "key": ["k"],
                    "event_time": [clicks(0, 1)["at"][0]],
                    "raw_offset": [0],
                    "price": [1.0],
                    "seen_10m": [1],
                    "ratio": [2.0],
                }
            )
        )
        .to_list()
    )
    assert old_codec.decode([written]).frame()["price"].to_list() == [1.0]
    assert new.codec("features").decode([written]).matrix(["ratio", "price"]).tolist() == [[2.0, 1.0]]
