"""The codec: what it decodes and encodes is what fastavro does, and damaged bytes get a code, never a wrong value."""

from __future__ import annotations

import random
import subprocess
import sys
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.codec.topic import TopicCodec
from headrace.codec.wire import Code, header
from headrace.errors import SchemaError, Unavailable
from headrace.schema.own import own_schema
from headrace.schema.records import Approval, Policy, PolicyMarker, Route
from headrace.schema.registry import MemoryRegistry, subject_of
from tests.codec_fuzz import THING
from tests.conftest import ROOT

TOPIC = "t.things"
SINGLE = st.floats(width=32, allow_nan=False)
THINGS = st.fixed_dictionaries(
    {
        "text": st.text(max_size=200),
        "count": st.integers(-(2**63), 2**63 - 1),
        "small": st.integers(-(2**31), 2**31 - 1),
        "single": SINGLE,
        "wide": st.floats(allow_nan=False),
        "yes": st.booleans(),
        "raw": st.binary(max_size=80),
        "maybe": st.none() | st.floats(allow_nan=False),
        "name": st.none() | st.text(max_size=20),
        "colour": st.sampled_from(["RED", "BLUE"]),
        "four": st.binary(min_size=4, max_size=4),
        "scores": st.lists(SINGLE, max_size=3),
    }
)


def codec_of(*schemas: dict[str, Any], topic: str = TOPIC, registry: MemoryRegistry | None = None) -> TopicCodec:
    registry = registry or MemoryRegistry()
    for schema in schemas:
        registry.register(subject_of(topic, schema), schema)
    return TopicCodec(topic, schemas, registry)


def by_fastavro(schema: dict[str, Any], row: dict[str, Any]) -> bytes:
    out = BytesIO()
    out.write(header(1))
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(schema)), row)
    return out.getvalue()


@given(st.lists(THINGS, max_size=12))
def test_what_fastavro_writes_is_read_back_as_columns(rows: list[dict[str, Any]]) -> None:
    decoded = codec_of(THING).decode([by_fastavro(THING, r) for r in rows])
    assert decoded.reasons == {}
    assert decoded.frame().to_dicts() == rows


@pytest.mark.slow
@given(st.lists(THINGS, max_size=12))
def test_columns_are_written_byte_for_byte_as_fastavro_writes_them(rows: list[dict[str, Any]]) -> None:
    codec = codec_of(THING)
    wanted = [by_fastavro(THING, r) for r in rows]
    assert codec.encode(codec.decode(wanted).frame()) == wanted


@pytest.mark.slow
@given(THINGS, st.data())
@settings(max_examples=300)
def test_a_record_cut_at_any_byte_is_refused(row: dict[str, Any], data: st.DataObject) -> None:
    whole = by_fastavro(THING, row)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    decoded = codec_of(THING).decode([whole, cut, whole])
    assert decoded.codes[1] in (Code.UNDECODABLE, Code.TOO_SHORT)
    assert decoded.frame().to_dicts() == [row, row]


@pytest.mark.slow
@given(THINGS, st.data())
@settings(max_examples=500)
def test_flipped_bytes_are_refused_or_read_as_fastavro_reads_them(row: dict[str, Any], data: st.DataObject) -> None:
    damaged = bytearray(by_fastavro(THING, row))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(5, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    intact = by_fastavro(THING, row)
    decoded = codec_of(THING).decode([intact, bytes(damaged), intact])
    found = decoded.frame()
    if decoded.codes[1] == Code.OK:
        body = BytesIO(bytes(damaged[5:]))
        read = fastavro.schemaless_reader(body, fastavro.parse_schema(dict(THING)), None)
        assert isinstance(read, dict)
        assert body.tell() == len(damaged) - 5
        same = pl.DataFrame([read], schema=found.schema)
        assert found[1].equals(same)
    assert found[0].to_dicts() == [row]


@pytest.mark.slow
def test_records_damaged_in_every_way_are_never_read_past_their_end() -> None:
    run = [sys.executable, "-m", "tests.codec_fuzz", "--cases", "2000", "--seed", str(random.randrange(10**6))]
    child = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert child.returncode == 0, f"{run}\n{child.stderr}"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, Code.NULL_VALUE),
        (b"", Code.TOO_SHORT),
        (b"\x00\x00\x00\x00", Code.TOO_SHORT),
        (b"\x01\x00\x00\x00\x01abc", Code.WRONG_MAGIC),
        (header(77) + b"abc", Code.UNKNOWN_SCHEMA),
        (header(2) + b"abc", Code.WRONG_RECORD),
        (header(1), Code.UNDECODABLE),
    ],
)
def test_each_kind_of_damage_has_its_code(value: bytes | None, code: Code) -> None:
    registry = MemoryRegistry()
    codec = codec_of(THING, registry=registry)
    registry.register("other-Label", own_schema("Label"))
    decoded = codec.decode([value])
    assert decoded.codes.tolist() == [code]
    assert decoded.kinds.tolist() == [-1]
    assert set(decoded.reasons) == {0}
    assert decoded.frame().is_empty()


def simple(name: str, avro: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Simple", "fields": [{"name": name, "type": avro}]}


@pytest.mark.parametrize(
    ("avro", "body", "reason"),
    [
        ("long", b"\xff" * 10, "field f at byte 15 is a number of more than ten bytes"),
        ("string", b"\x01", "field f at byte 6 has a negative length"),
        ("string", b"\x80\x80\x80\x80\x80\x80\x80\x80\x02", "field f at byte 14 is longer than what is left"),
        (["null", "long"], b"\x01", "field f at byte 6 names a branch its union does not have"),
        (["null", "long"], b"\x04", "field f at byte 6 names a branch its union does not have"),
        ("boolean", b"\x02", "field f at byte 5 is neither true nor false"),
        ("string", b"\x04\xc3\x28", "field f at byte 6 is no UTF-8"),
        ("int", b"\x80\x80\x80\x80\x80\x01", "is no 32-bit integer"),
    ],
)
def test_a_broken_rule_is_named_with_field_and_byte(avro: Any, body: bytes, reason: str) -> None:
    decoded = codec_of(simple("f", avro)).decode([header(1) + body])
    assert decoded.codes.tolist() == [Code.UNDECODABLE]
    assert reason in decoded.reasons[0]


def test_trailing_bytes_are_refused() -> None:
    decoded = codec_of(simple("f", "long")).decode([header(1) + b"\x02", header(1) + b"\x02\x00"])
    assert decoded.codes.tolist() == [Code.OK, Code.TRAILING_BYTES]


def test_an_older_writer_is_read_with_the_readers_defaults() -> None:
    registry = MemoryRegistry()
    old = simple("f", "long")
    new = {**old, "fields": [*old["fields"], {"name": "g", "type": "double", "default": 1.5}]}
    old_codec = codec_of(old, registry=registry)
    codec = codec_of(new, registry=registry)
    values = [*old_codec.encode(pl.DataFrame({"f": [1]})), *codec.encode(pl.DataFrame({"f": [2], "g": [2.5]}))]
    assert codec.decode([values[1], values[0]]).frame().to_dicts() == [{"f": 2, "g": 2.5}, {"f": 1, "g": 1.5}]


def test_records_of_two_types_keep_their_places() -> None:
    label, marker = own_schema("Label"), own_schema("PolicyMarker")
    codec = codec_of(label, marker)
    row = {"id": "a", "key": "k", "label": 1.0, "label_time": 5, "source": "raw", "source_offset": None}
    rows = codec.encode(pl.DataFrame([row]).with_columns(pl.col("label_time").cast(pl.Datetime("us", "UTC"))))
    record = PolicyMarker(activation_id="x", policy=Policy(routes=[Route(model_id="m", weight=1)]))
    decoded = codec.decode([rows[0], codec.encode_control(record), None, rows[0]])
    assert decoded.places(0).tolist() == [0, 3]
    assert decoded.places(1).tolist() == [1]
    assert decoded.codes.tolist() == [0, 0, Code.NULL_VALUE, 0]


def test_a_control_record_comes_back_as_it_was() -> None:
    codec = codec_of(own_schema("Approval"))
    policy = Policy(routes=[Route(model_id="m", weight=3)], shadows=["s"], salt="x", backlog="SKIP")
    record = Approval(model_id="m", by="me", evidence_hash="h", policy=policy)
    assert codec.decode_control(codec.encode_control(record)) == record


def test_a_damaged_control_record_says_why() -> None:
    with pytest.raises(SchemaError, match="wrong_magic"):
        codec_of(own_schema("Approval")).decode_control(b"\x07abcdef")


def test_a_registry_that_is_away_makes_decoding_wait_not_fail() -> None:
    registry = MemoryRegistry()
    codec = codec_of(simple("f", "long"), registry=registry)
    value = codec.encode(pl.DataFrame({"f": [1]}))
    registry.away = True
    with pytest.raises(Unavailable):
        codec.decode(value)
    registry.away = False
    assert codec.decode(value).frame()["f"].to_list() == [1]


def test_a_null_in_a_field_that_takes_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="field f is null in row 1"):
        codec_of(simple("f", "long")).encode(pl.DataFrame({"f": [1, None]}))


def test_long_batches_agree_with_fastavro() -> None:
    random = np.random.default_rng(7)
    numbers = random.integers(-(2**62), 2**62, 5000) >> random.integers(0, 62, 5000)
    schema = simple("f", "long")
    values = codec_of(schema).encode(pl.DataFrame({"f": numbers}))
    assert values == [by_fastavro(schema, {"f": n}) for n in numbers.tolist()]
    assert codec_of(schema).decode(values).frame()["f"].to_list() == numbers.tolist()
