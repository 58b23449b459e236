"""Writers whose schema names types of other subjects, or whose record has another name."""

from __future__ import annotations

import copy
import uuid
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.column import BytesColumn
from headrace.codec.framing import with_ids
from headrace.codec.topic import TopicCodec
from headrace.codec.wire import Code, header, schema_of
from headrace.schema.own import own_schema
from headrace.schema.references import inlined
from headrace.schema.registry import MemoryRegistry

FIELDS: list[dict[str, Any]] = [{"name": "a", "type": "long"}]
CITY = {"type": "record", "name": "City", "fields": [{"name": "name", "type": "string"}]}
ADDRESS = {"type": "record", "name": "Address", "namespace": "acme", "fields": [{"name": "city", "type": CITY}]}


def click(name: str = "Click", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": FIELDS, **more}


def bodies(schema_id: int, schema: Any, *values: dict[str, Any]) -> list[bytes]:
    parsed = fastavro.parse_schema(copy.deepcopy(schema))
    found = []
    for value in values:
        out = BytesIO()
        fastavro.schemaless_writer(out, parsed, value)
        found.append(header(schema_id) + out.getvalue())
    return found


@pytest.mark.parametrize("kind", ["acme.Address", ["null", "acme.Address"], {"type": "map", "values": "acme.City"}])
def test_a_record_with_types_of_other_subjects_is_read(kind: Any) -> None:
    writer = click(fields=[{"name": "where", "type": kind}, *FIELDS])
    registry = MemoryRegistry()
    schema_id = registry.register("s", writer, [ADDRESS])
    where = {"k": {"name": "Oslo"}} if isinstance(kind, dict) else {"city": {"name": "Oslo"}}
    records = bodies(schema_id, registry.schema_of(schema_id), {"where": where, "a": 5})
    assert TopicCodec("t", [click()], registry).decode(records).frame().rows() == [(5,)]
    both = TopicCodec("t", [inlined(writer, [ADDRESS])], registry).decode(records)
    shown = [{"key": "k", "value": {"name": "Oslo"}}] if isinstance(kind, dict) else where
    assert both.frame().rows() == [(shown, 5)]


def test_a_type_that_is_named_before_the_one_that_holds_it_is_defined_once() -> None:
    writer = click(fields=[{"name": n, "type": t} for n, t in (("c", "acme.City"), ("h", "acme.Address"))])
    found = inlined(writer, [ADDRESS])
    assert [f["type"] for f in found["fields"]] == [
        {**CITY, "namespace": "acme"},
        {**ADDRESS, "fields": [{"name": "city", "type": "acme.City"}]},
    ]
    fastavro.parse_schema(found)


def test_a_name_that_nobody_defines_stays_and_is_told() -> None:
    writer = click(fields=[{"name": "where", "type": "acme.Nowhere"}])
    registry = MemoryRegistry()
    schema_id = registry.register("s", writer, [ADDRESS])
    found = TopicCodec("t", [click()], registry).decode([header(schema_id)])
    assert found.codes.tolist() == [Code.WRONG_RECORD]
    assert found.reasons[0].endswith("unknown type 'acme.Nowhere'")


RENAMED = [
    (click(namespace="v1"), click(namespace="v1")),
    (click(namespace="v1"), click(namespace="v2", aliases=["v1.Click"])),
    (click("Tap", namespace="v1"), click(namespace="v2", aliases=["v1.Tap"])),
    (click("Tap"), click(aliases=["Tap"])),
    (click("Tap", namespace="v1"), click(namespace="v1", aliases=["Tap"])),
    (click(namespace="v1"), click(namespace="v2")),
    (click("v1.Click"), click(namespace="v1")),
    (click(namespace="v1"), click("v1.Click")),
    (click("v1.Click", namespace="ignored"), click(namespace="v1")),
]


@pytest.mark.parametrize(("writer", "reader"), RENAMED)
def test_a_record_is_known_by_name_alias_or_short_name(writer: Any, reader: Any) -> None:
    registry = MemoryRegistry()
    records = bodies(registry.register("s", writer), writer, {"a": 5}, {"a": 6})
    found = TopicCodec("t", [reader, own_schema("PolicyMarker")], registry).decode(records)
    assert found.reasons == {}
    assert found.frame().rows() == [(5,), (6,)]


@pytest.mark.parametrize(
    ("writer", "readers"),
    [
        (click("Tap"), [click()]),
        (click("PolicyMarker", namespace="acme"), [click(), own_schema("PolicyMarker")]),
        (click(namespace="v1"), [click(namespace="v2"), click(namespace="v3")]),
    ],
)
def test_a_record_of_another_name_or_of_two_that_it_could_be_is_refused(writer: Any, readers: list[Any]) -> None:
    registry = MemoryRegistry()
    records = bodies(registry.register("s", writer), writer, {"a": 5})
    assert TopicCodec("t", readers, registry).decode(records).codes.tolist() == [Code.WRONG_RECORD]


def test_a_record_that_names_its_schema_by_guid_is_read_beside_those_that_name_it_by_number() -> None:
    registry = MemoryRegistry()
    wide = click(fields=[*FIELDS, {"name": "b", "type": "string"}])
    ids = [registry.register("s", s) for s in (click(), wide)]
    numbered = [bodies(ids[0], click(), {"a": i})[0] for i in range(2)]
    others = [bodies(0, wide, {"a": i, "b": "x"})[0] for i in range(2, 4)]
    guided = [b"\1" + uuid.UUID(registry.guid_of(ids[1])).bytes + whole[5:] for whole in others]
    unknown = b"\1" + bytes(15) + b"\x63" + b"\2"
    found = TopicCodec("t", [click()], registry).decode([numbered[0], guided[0], unknown, numbered[1], guided[1], None])
    assert found.frame()["a"].to_list() == [0, 2, 1, 3]
    assert found.codes.tolist() == [0, 0, Code.WRONG_MAGIC, 0, 0, Code.NULL_VALUE]
    assert found.reasons[2] == f"the first byte is 1, and no schema has the GUID {uuid.UUID(int=0x63)}"
    assert [schema_of(v) for v in (numbered[0], unknown, b"\1" + bytes(15), b"\0\0\0\0", b"\2" + bytes(20))] == [
        (ids[0], 5),
        (str(uuid.UUID(int=0x63)), 17),
        None,
        None,
        None,
    ]


@given(st.lists(st.tuples(st.none() | st.binary(max_size=5), st.binary(max_size=4)), max_size=6))
def test_ids_of_headers_are_put_before_values(pairs: list[tuple[bytes | None, bytes]]) -> None:
    values, ids = (BytesColumn.of([p[i] for p in pairs]) for i in (0, 1))
    assert with_ids(values, ids).to_list() == [None if v is None else i + v for v, i in pairs]
    assert with_ids(values[1:], ids[1:]).to_list() == [None if v is None else i + v for v, i in pairs[1:]]
