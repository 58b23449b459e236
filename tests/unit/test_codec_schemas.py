"""The codec over any schema: what it reads and writes is what fastavro does; damage is refused or read alike.

``CODEC_CASES`` sets how many damaged records the long run tries (default: a few thousand).
"""

from __future__ import annotations

import copy
import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.codec.column import BytesColumn
from headrace.codec.topic import Decoded, TopicCodec
from headrace.codec.wire import Code, header
from headrace.schema.registry import MemoryRegistry, subject_of

TOPIC = "t.any"
CASES = int(os.environ.get("CODEC_CASES", "3000"))
Schema = Any
MICROS, MILLIS = "timestamp-micros", "timestamp-millis"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))

LEAVES: list[tuple[Schema, st.SearchStrategy[Any]]] = [
    ("boolean", st.booleans()),
    ("int", st.integers(-(2**31), 2**31 - 1)),
    ("long", st.integers(-(2**63), 2**63 - 1)),
    ("float", st.floats(width=32, allow_nan=False)),
    ("double", st.floats(allow_nan=False)),
    ("bytes", st.binary(max_size=12)),
    ("string", st.text(max_size=12)),
    ({"type": "int", "logicalType": "date"}, st.dates(date(1900, 1, 1), date(2100, 1, 1))),
    (
        {"type": "int", "logicalType": "time-millis"},
        st.times().map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)),
    ),
    ({"type": "long", "logicalType": "time-micros"}, st.times()),
    ({"type": "long", "logicalType": MICROS}, MOMENTS),
    (
        {"type": "long", "logicalType": MILLIS},
        MOMENTS.map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)),
    ),
    ({"type": "string", "logicalType": "uuid"}, st.uuids()),
    (
        {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3},
        st.integers(-(10**12) + 1, 10**12 - 1).map(lambda n: Decimal(n).scaleb(-3)),
    ),
]


def schemas(depth: int) -> st.SearchStrategy[tuple[Schema, st.SearchStrategy[Any]]]:
    """A schema and a strategy of its values. Named types get their names later (see :func:`named`)."""
    leaf = st.sampled_from(LEAVES) | st.integers(0, 9).map(
        lambda n: ({"type": "fixed", "name": "?", "size": n}, st.binary(min_size=n, max_size=n))
    )
    leaf |= st.integers(1, 4).map(
        lambda n: ({"type": "enum", "name": "?", "symbols": list("ABCD"[:n])}, st.sampled_from("ABCD"[:n]))
    )
    if depth == 0:
        return leaf
    inner = schemas(depth - 1)
    array = inner.map(lambda s: ({"type": "array", "items": s[0]}, st.lists(s[1], max_size=3)))
    maps = inner.map(
        lambda s: ({"type": "map", "values": s[0]}, st.dictionaries(st.text(max_size=4), s[1], max_size=3))
    )
    optional = inner.map(lambda s: (["null", s[0]], st.none() | s[1]))
    last_null = inner.map(lambda s: ([s[0], "null"], st.none() | s[1]))
    record = st.lists(inner, min_size=1, max_size=3).map(_record)
    return leaf | array | maps | optional | last_null | record | unions()


def unions() -> st.SearchStrategy[tuple[Schema, st.SearchStrategy[Any]]]:
    """General unions whose branch a value's Python type tells."""
    branches: dict[str, tuple[Schema, st.SearchStrategy[Any]]] = {
        "null": ("null", st.none()),
        "string": ("string", st.text(max_size=5)),
        "long": ("long", st.integers(-(2**63), 2**63 - 1)),
        "bytes": ("bytes", st.binary(max_size=5)),
        "array": ({"type": "array", "items": "long"}, st.lists(st.integers(-5, 5), max_size=3)),
    }
    chosen = st.lists(st.sampled_from(sorted(branches)), min_size=2, max_size=4, unique=True)
    chosen = chosen.filter(lambda names: len({*names} - {"null"}) > 1 and not {"bytes", "array"} <= {*names})
    return chosen.map(lambda names: ([branches[n][0] for n in names], st.one_of([branches[n][1] for n in names])))


def _record(fields: list[tuple[Schema, st.SearchStrategy[Any]]]) -> tuple[Schema, st.SearchStrategy[Any]]:
    made = [{"name": f"f{i}", "type": s} for i, (s, _) in enumerate(fields)]
    return {"type": "record", "name": "?", "fields": made}, st.fixed_dictionaries(
        {f"f{i}": v for i, (_, v) in enumerate(fields)}
    )


def named(schema: Schema, count: list[int]) -> Schema:
    """The schema with a name of its own for each named type, and no union right inside a union."""
    if isinstance(schema, list):
        return [named(s, count) for s in schema]
    if not isinstance(schema, dict):
        return schema
    made = {k: named(v, count) if k in ("type", "items", "values") else v for k, v in schema.items()}
    if "name" in made:
        count[0] += 1
        made["name"] = f"N{count[0]}"
    if "fields" in made:
        made["fields"] = [{**f, "type": named(f["type"], count)} for f in made["fields"]]
    return made


def flat(schema: Schema) -> bool:
    """Whether no union holds a union."""
    if isinstance(schema, list):
        return all(not isinstance(s, list) and flat(s) for s in schema)
    if isinstance(schema, dict):
        inner = [schema.get("items"), schema.get("values"), *(f["type"] for f in schema.get("fields", ()))]
        return all(flat(s) for s in inner if s is not None)
    return True


RECORDS = (
    st.lists(schemas(2), min_size=1, max_size=4)
    .map(_record)
    .filter(lambda r: flat(r[0]))
    .map(lambda r: ({**named(r[0], [0]), "name": "Any"}, r[1]))
)


def shown(schema: Schema, value: Any) -> Any:
    """A value as fastavro gives it, in the form our columns give it."""
    if isinstance(schema, list):
        others = [s for s in schema if s != "null"]
        if "null" in schema and len(others) == 1:
            return None if value is None else shown(others[0], value)
        return {f"member{i}": shown(s, value) if _is(s, value) else None for i, s in enumerate(others)}
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "array":
        return [shown(schema["items"], v) for v in value]
    if kind == "map":
        return [{"key": k, "value": shown(schema["values"], v)} for k, v in value.items()]
    if kind == "record":
        return {f["name"]: shown(f["type"], value[f["name"]]) for f in schema["fields"]}
    return str(value) if isinstance(value, UUID) else value


def _is(schema: Schema, value: Any) -> bool:
    kinds = {"string": str, "long": int, "bytes": bytes}
    return isinstance(value, list if isinstance(schema, dict) else kinds[schema])


def encoded(schema: Schema, value: Any) -> bytes:
    out = BytesIO()
    out.write(header(1))
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), value)
    return out.getvalue()


def codec_of(schema: Schema, *writers: Schema) -> TopicCodec:
    registry = MemoryRegistry()
    for s in writers or (schema,):
        registry.register(subject_of(TOPIC, s), s)
    return TopicCodec(TOPIC, [schema], registry)


def rows_of(decoded: Decoded) -> list[dict[str, Any]]:
    return decoded.frame().to_dicts()


@pytest.mark.slow
@given(RECORDS, st.data())
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_any_record_is_read_and_written_as_fastavro_does(
    case: tuple[Schema, st.SearchStrategy[Any]], data: st.DataObject
) -> None:
    schema, values = case
    rows = data.draw(st.lists(values, min_size=1, max_size=4))
    whole = [encoded(schema, r) for r in rows]
    codec = codec_of(schema)
    decoded = codec.decode(whole)
    assert decoded.reasons == {}
    assert rows_of(decoded) == [shown(schema, r) for r in rows]
    assert codec.encode(decoded.frame()) == whole


@given(RECORDS, st.data())
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_a_record_of_any_schema_cut_at_any_byte_is_refused(
    case: tuple[Schema, st.SearchStrategy[Any]], data: st.DataObject
) -> None:
    schema, values = case
    row = data.draw(values)
    whole = encoded(schema, row)
    cuts = [whole[:n] for n in range(len(whole))]
    decoded = codec_of(schema).decode([whole, *cuts, whole])
    assert set(decoded.reasons) == set(range(1, len(whole) + 1))
    assert rows_of(decoded) == [shown(schema, row)] * 2


def damaged(whole: bytes, random: np.random.Generator) -> bytes:
    """A record with one to four of its bytes changed, and sometimes some put in or taken out."""
    made = bytearray(whole)
    for _ in range(random.integers(1, 5)):
        if len(made) > 5:
            made[random.integers(5, len(made))] = (0, 1, 2, 0x7F, 0x80, 0xFF, int(random.integers(256)))[
                random.integers(7)
            ]
    if random.random() < 0.2:
        place = random.integers(5, len(made) + 1)
        made[place:place] = random.bytes(int(random.integers(1, 12)))
    return bytes(made)


@pytest.mark.slow
@given(RECORDS, st.data(), st.integers(0, 2**32))
@settings(max_examples=max(30, CASES // 100), suppress_health_check=list(HealthCheck))
def test_damaged_records_are_refused_or_read_as_fastavro_reads_them(
    case: tuple[Schema, st.SearchStrategy[Any]], data: st.DataObject, seed: int
) -> None:
    schema, values = case
    row = data.draw(values)
    whole = encoded(schema, row)
    random = np.random.default_rng(seed)
    broken = [damaged(whole, random) for _ in range(100)]
    decoded = codec_of(schema).decode([whole, *broken, whole])
    plain = without_logical(schema)
    codec = codec_of(plain)
    again = codec.decode([whole, *broken, whole])
    odd = np.flatnonzero(again.codes != decoded.codes)
    assert all("more digits than its type takes" in decoded.reasons[i] for i in odd.tolist())
    decoded.frame()
    frame = again.frame()
    assert frame[0].to_dicts() == frame[-1].to_dicts()
    sound = [i for i in range(1, 101) if again.codes[i] == Code.OK]
    assert again.places().tolist() == [0, *sound, 101]
    parsed = fastavro.parse_schema(copy.deepcopy(plain))
    # Bytes compare where values may not (NaN): what was read, written again, is what fastavro reads, written again.
    # Both go through fastavro, which quiets a signalling NaN; the codec keeps its bits.
    written = codec.encode(frame)
    for place, i in enumerate(sound, start=1):
        read, length = read_by_fastavro(broken[i - 1], parsed)
        assert length == len(broken[i - 1])
        if not doubled_keys(plain, broken[i - 1][5:], read):
            assert encoded(plain, read_by_fastavro(written[place] or b"", parsed)[0]) == encoded(plain, read)


def read_by_fastavro(record: bytes, parsed: Any) -> tuple[Any, int]:
    """A record as fastavro reads it, and how many of its bytes that took."""
    body = BytesIO(record)
    body.seek(5)
    return fastavro.schemaless_reader(body, parsed, None), body.tell()


def doubled_keys(schema: Schema, body: bytes, read: Any) -> bool:
    """Whether a map held a key twice, which a dict cannot show: the value written again is then shorter."""
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), read)
    return "map" in str(schema) and len(out.getvalue()) < len(body)


def without_logical(schema: Schema) -> Schema:
    if isinstance(schema, list):
        return [without_logical(s) for s in schema]
    if isinstance(schema, dict):
        kept = {k: v for k, v in schema.items() if k not in ("logicalType", "precision", "scale")}
        for part in ("type", "items", "values"):
            if part in kept:
                kept[part] = without_logical(kept[part])
        if "fields" in kept:
            kept["fields"] = [{**f, "type": without_logical(f["type"])} for f in kept["fields"]]
        return kept
    return schema


def record(*fields: dict[str, Any], **more: Any) -> Schema:
    return {"type": "record", "name": "Any", "fields": list(fields), **more}


INNER = {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "int"}]}
WIDER = {
    "type": "record",
    "name": "Inner",
    "fields": [{"name": "y", "type": "string", "default": "why"}, {"name": "x", "type": "double"}],
}
EVOLUTIONS: dict[str, tuple[Schema, Schema, Any]] = {
    "a field is added": (
        record({"name": "a", "type": "int"}),
        record({"name": "b", "type": "string", "default": "é"}, {"name": "a", "type": "int"}),
        {"a": 1},
    ),
    "an optional field is added": (
        record({"name": "a", "type": "int"}),
        record({"name": "a", "type": "int"}, {"name": "b", "type": ["null", "double"], "default": None}),
        {"a": 1},
    ),
    "an array and a map are added": (
        record({"name": "a", "type": "int"}),
        record(
            {"name": "a", "type": "int"},
            {"name": "l", "type": {"type": "array", "items": "long"}, "default": [1, 2]},
            {"name": "m", "type": {"type": "map", "values": INNER}, "default": {"k": {"x": 7}}},
        ),
        {"a": 1},
    ),
    "fields of every kind are removed": (
        record(
            {"name": "l", "type": {"type": "array", "items": {"type": "array", "items": ["null", "string"]}}},
            {"name": "m", "type": {"type": "map", "values": INNER}},
            {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
            {"name": "f", "type": {"type": "fixed", "name": "F", "size": 3}},
            {"name": "a", "type": "int"},
        ),
        record({"name": "a", "type": "int"}),
        {"l": [["x", None], []], "m": {"k": {"x": 1}}, "e": "B", "f": b"abc", "a": 5},
    ),
    "fields are reordered": (
        record({"name": "a", "type": "int"}, {"name": "b", "type": "string"}),
        record({"name": "b", "type": "string"}, {"name": "a", "type": "int"}),
        {"a": 1, "b": "x"},
    ),
    "numbers are promoted": (
        record(*({"name": n, "type": t} for n, t in (("a", "int"), ("b", "int"), ("c", "long"), ("d", "float")))),
        record(*({"name": n, "type": t} for n, t in (("a", "long"), ("b", "float"), ("c", "double"), ("d", "double")))),
        {"a": -3, "b": 1 << 25, "c": -(2**60), "d": 0.1},
    ),
    "text becomes bytes and bytes text": (
        record({"name": "a", "type": "string"}, {"name": "b", "type": "bytes"}),
        record({"name": "a", "type": "bytes"}, {"name": "b", "type": "string"}),
        {"a": "é", "b": b"text"},
    ),
    "a field is renamed by alias": (
        record({"name": "old", "type": "int"}),
        record({"name": "new", "type": "long", "aliases": ["old"]}),
        {"old": 9},
    ),
    "a symbol is gone and has a default": (
        record({"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B", "C"]}}),
        record({"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["C", "A"], "default": "A"}}),
        {"e": "B"},
    ),
    "a field becomes optional": (
        record({"name": "a", "type": "int"}),
        record({"name": "a", "type": ["null", "long"], "default": None}),
        {"a": 4},
    ),
    "an optional field becomes required": (
        record({"name": "a", "type": ["null", "int"]}),
        record({"name": "a", "type": "int"}),
        {"a": 4},
    ),
    "a nested record in a list widens": (
        record({"name": "l", "type": {"type": "array", "items": INNER}}),
        record({"name": "l", "type": {"type": "array", "items": WIDER}}),
        {"l": [{"x": 1}, {"x": 2}]},
    ),
}


@pytest.mark.parametrize("name", EVOLUTIONS)
def test_a_writers_schema_is_resolved_to_the_readers_as_fastavro_does(name: str) -> None:
    writer, reader, value = EVOLUTIONS[name]
    whole = encoded(writer, value)
    codec = codec_of(reader, writer)
    decoded = codec.decode([whole, whole[:-1], whole])
    assert set(decoded.reasons) == {1}
    parsed = [fastavro.parse_schema(copy.deepcopy(s)) for s in (writer, reader)]
    read = fastavro.schemaless_reader(BytesIO(whole[5:]), parsed[0], parsed[1])
    wanted = shown(reader, read)
    assert rows_of(decoded) == [wanted, wanted]


def test_a_value_the_readers_schema_does_not_take_is_refused_alone() -> None:
    writer = record({"name": "a", "type": ["null", "int", "string"]})
    reader = record({"name": "a", "type": "int"})
    codec = codec_of(reader, writer)
    decoded = codec.decode([encoded(writer, {"a": v}) for v in (1, None, "x", 2)])
    assert {p: r.split("byte")[0] for p, r in decoded.reasons.items()} == {1: "field a at ", 2: "field a at "}
    assert decoded.frame()["a"].to_list() == [1, 2]


@pytest.mark.parametrize(
    ("writer", "said"),
    [
        (record({"name": "b", "type": "int"}), "field a is not in the writer's schema and has no default"),
        (record({"name": "a", "type": ["null", "Any"]}), "holds itself"),
    ],
)
def test_a_schema_that_cannot_be_read_marks_its_records_wrong(writer: Schema, said: str) -> None:
    decoded = codec_of(record({"name": "a", "type": "int"}), writer).decode([header(1) + b"\x00"])
    assert decoded.codes.tolist() == [Code.WRONG_RECORD]
    assert said in decoded.reasons[0]


LISTS = record({"name": "l", "type": {"type": "array", "items": "long"}})
HUGE = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"


@pytest.mark.parametrize(
    ("schema", "body", "rows"),
    [
        (LISTS, b"\x02\x02\x02\x04\x00", [1, 2]),  # two blocks
        (LISTS, b"\x03\x04\x02\x04\x00", [1, 2]),  # a block that tells its bytes
        (LISTS, HUGE + b"\x02", None),
        (LISTS, b"\x03\x80\x01\x02\x00", None),  # more bytes than there are
        (LISTS, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00", None),  # the least number, as a count
        (record({"name": "l", "type": {"type": "array", "items": "null"}}), HUGE + b"\x00", None),
        (record({"name": "l", "type": {"type": "map", "values": "null"}}), HUGE + b"\x00", None),
        (record({"name": "s", "type": "bytes"}), HUGE, None),
    ],
)
def test_counts_and_lengths_are_held_against_the_bytes_there_are(
    schema: Schema, body: bytes, rows: list[int] | None
) -> None:
    decoded = codec_of(schema).decode([header(1) + body])
    assert (decoded.codes[0] == Code.OK) == (rows is not None)
    assert [r["l"] for r in rows_of(decoded)] == ([] if rows is None else [rows])


def test_columns_of_numbers_strings_and_integers_come_without_a_frame() -> None:
    schema = record(
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": MICROS}},
        {"name": "x", "type": ["null", "double"]},
        {"name": "n", "type": "int"},
        {"name": "b", "type": "boolean"},
        {"name": "f", "type": "float"},
    )
    rows = [
        {"id": f"é{i}", "at": EPOCH + timedelta(seconds=i), "x": i / 3 if i else None, "n": i, "b": i == 1, "f": i / 7}
        for i in range(3)
    ]
    decoded = codec_of(schema).decode([encoded(schema, rows[0]), b"", *(encoded(schema, r) for r in rows[1:])])
    assert decoded.places().tolist() == [0, 2, 3]
    assert decoded.strings("id") == [f"é{i}".encode() for i in range(3)]
    assert decoded.integers("at").tolist() == [0, 1_000_000, 2_000_000]
    wanted = np.array([[np.nan if i == 0 else i / 3, i, i == 1, i / 7] for i in range(3)], dtype=np.float32)
    assert np.array_equal(decoded.matrix(["x", "n", "b", "f"]), wanted, equal_nan=True)


def test_records_of_several_writers_in_one_batch_keep_their_order() -> None:
    old, new = EVOLUTIONS["a field is added"][:2]
    codec = codec_of(new, old, new)
    rows = [{"a": i} if i % 2 else {"a": i, "b": str(i)} for i in range(6)]
    whole = [encoded(old, r) if "b" not in r else header(2) + encoded(new, r)[5:] for r in rows]
    decoded = codec.decode(whole)
    assert decoded.frame()["a"].to_list() == list(range(6))
    assert decoded.strings("b") == [b"0", "é".encode(), b"2", "é".encode(), b"4", "é".encode()]
    assert decoded.integers("a").tolist() == list(range(6))
    assert decoded.matrix(["a"])[:, 0].tolist() == list(range(6))


def test_columns_are_encoded_as_the_frame_of_them() -> None:
    schema = record(
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": MICROS}},
        {"name": "model", "type": "string"},
        {"name": "route", "type": {"type": "enum", "name": "R", "symbols": ["a", "b"]}},
        {"name": "out", "type": {"type": "array", "items": "float"}},
        {"name": "note", "type": ["null", "string"]},
        {"name": "more", "type": ["null", "long"]},
    )
    codec = codec_of(schema)
    scores = np.array([[0.5], [0.25], [1.0]], dtype=np.float32)
    ids = ["x", "", "zé"]
    columns = codec.encode_columns(
        3,
        {
            "id": BytesColumn.of([i.encode() for i in ids]),
            "at": np.array([1, 2, 3]),
            "model": "m" * 64,
            "route": "b",
            "out": scores,
            "note": None,
            "more": np.array([5, 6, 7]),
        },
    )
    rows = [
        {
            "id": i,
            "at": EPOCH + timedelta(microseconds=k + 1),
            "model": "m" * 64,
            "route": "b",
            "out": [float(scores[k, 0])],
            "note": None,
            "more": 5 + k,
        }
        for k, i in enumerate(ids)
    ]
    assert columns == [encoded(schema, r) for r in rows]
