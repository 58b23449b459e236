"""Values whose logical type the writer and the reader do not share: the same moment or number, or a refusal, and never
other values."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.topic import Decoded, TopicCodec
from headrace.codec.wire import Code, header
from headrace.schema.registry import MemoryRegistry, subject_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {"millis": 1_000_000, "micros": 1_000, "nanos": 1}


def record(kind: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Any", "fields": [{"name": "v", "type": kind, **more}]}


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **more}


def decimal(precision: int, scale: int, size: int | None = None) -> dict[str, Any]:
    kind = {"type": "bytes"} if size is None else {"type": "fixed", "name": "F", "size": size}
    return {**kind, "logicalType": "decimal", "precision": precision, "scale": scale}


def bare(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: bare(v) for k, v in schema.items() if k not in ("logicalType", "precision", "scale")}
    return [bare(s) for s in schema] if isinstance(schema, list) else schema


def decoded(writer: Any, reader: Any, values: list[Any]) -> Decoded:
    """Records of the writer's type, whose values are given as those of the type beneath."""
    registry = MemoryRegistry()
    schemas = [record(writer), record(reader)]
    ids = [registry.register(subject_of("t", s), s) for s in schemas]
    parsed = fastavro.parse_schema(copy.deepcopy(bare(schemas[0])))
    bodies = []
    for value in values:
        out = BytesIO()
        fastavro.schemaless_writer(out, parsed, {"v": value})
        bodies.append(header(ids[0]) + out.getvalue())
    return TopicCodec("t", [schemas[1]], registry).decode(bodies)


def twos(n: int, size: int | None = None) -> bytes:
    return n.to_bytes(size or (n if n >= 0 else ~n).bit_length() // 8 + 1, "big", signed=True)


@pytest.mark.parametrize("family", ["time", "timestamp", "local-timestamp"])
@pytest.mark.parametrize(
    "units", [("millis", "micros"), ("micros", "millis"), ("nanos", "micros"), ("micros", "nanos")]
)
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**6), 10**6).map(lambda n: n * 1000), max_size=9))
def test_a_time_of_another_unit_is_the_same_moment_or_is_refused(
    family: str, units: tuple[str, str], values: list[int]
) -> None:
    kinds = ["int" if (family, unit) == ("time", "millis") else "long" for unit in units]
    if kinds[1] == "int":
        return  # no long is read as an int
    if kinds[0] == "int":
        values = [v for v in values if -(2**31) <= v < 2**31]
    writer, reader = (logical(k, f"{family}-{u}") for k, u in zip(kinds, units, strict=True))
    found = decoded(writer, reader, values)
    wanted = [divmod(v * UNITS[units[0]], UNITS[units[1]]) for v in values]
    exact = {i: w for i, (w, left) in enumerate(wanted) if not left and -(2**63) <= w < 2**63}
    assert found.places().tolist() == list(exact)
    assert found.integers("v").tolist() == list(exact.values())
    assert all("it would be rounded, or is too large" in why for why in found.reasons.values())


@given(st.lists(st.integers(-(10**37), 10**37) | st.integers(-(10**6), 10**6), max_size=8), st.data())
def test_a_decimal_of_another_scale_is_the_same_number_or_is_refused(unscaled: list[int], data: st.DataObject) -> None:
    scales = data.draw(st.tuples(st.integers(0, 12), st.integers(0, 12)))
    precision = data.draw(st.integers(12, 38))
    fixed = data.draw(st.sampled_from([None, 16, 20]))
    raw = [twos(n, fixed) for n in unscaled]
    found = decoded(decimal(38, scales[0], fixed), decimal(precision, scales[1], fixed), raw)
    exact = {}
    for i, n in enumerate(unscaled):
        whole, left = divmod(n * 10 ** scales[1], 10 ** scales[0])
        if not left and abs(whole) < 10**precision:
            exact[i] = int(whole)
    assert found.places().tolist() == list(exact)
    shown = [int(Decimal(v).scaleb(scales[1])) for v in found.frame()["v"].cast(str).to_list()]
    assert shown == list(exact.values())


@pytest.mark.parametrize("size", [None, 17, 40])
@pytest.mark.parametrize("n", [10**9, -(10**9), 2**127, -(2**127), -(2**128), 2**135])
def test_a_decimal_of_too_many_digits_is_refused_alone(n: int, size: int | None) -> None:
    if size == 17 and not -(2**135) <= n < 2**135:
        n = 2**135 - 1
    kind = decimal(9, 3, size)
    found = decoded(kind, kind, [twos(-1, size), twos(n, size), twos(10**9 - 1, size)])
    assert set(found.reasons) == {1}
    assert found.reasons[1].endswith("has more digits than its type takes")
    assert found.frame()["v"].to_list() == [Decimal("-0.001"), Decimal("999999.999")]


def test_a_refusal_names_the_field_and_both_types() -> None:
    found = decoded(decimal(9, 3), decimal(9, 2), [twos(1230), twos(1234)])
    assert found.codes.tolist() == [Code.OK, Code.UNDECODABLE]
    assert found.frame()["v"].to_list() == [Decimal("1.23")]
    assert found.reasons == {
        1: "field v (written as decimal(9, 3), read as decimal(9, 2)) at byte 6 is no value of the reader's type: it "
        "would be rounded, or is too large"
    }


MILLIS, MICROS = logical("long", "timestamp-millis"), logical("long", "timestamp-micros")


@pytest.mark.parametrize(
    ("writer", "reader", "value"),
    [
        (MILLIS, logical("long", "local-timestamp-millis"), 5),
        (logical("int", "date"), MICROS, 5),
        (logical("int", "date"), logical("long", "time-micros"), 5),
        (logical("int", "time-millis"), MILLIS, 5),
        (logical("long", "acme-price"), MICROS, 5),
        (decimal(9, 2), "string", b"12"),
        ("string", decimal(9, 2), "12"),
        (logical("bytes", "big-decimal"), decimal(9, 2), b"\x02"),
    ],
)
def test_a_value_that_means_something_else_is_refused(writer: Any, reader: Any, value: Any) -> None:
    found = decoded(writer, reader, [value])
    assert found.codes.tolist() == [Code.UNDECODABLE]
    assert found.reasons[0].endswith("means something else to the reader")


@pytest.mark.parametrize(
    ("writer", "reader", "value", "read"),
    [
        ("long", MICROS, 7, EPOCH + timedelta(microseconds=7)),
        (MILLIS, "long", 7, 7),
        (MILLIS, "double", 7, 7.0),
        (["null", MILLIS], ["null", MICROS], 7, EPOCH + timedelta(milliseconds=7)),
        (
            {"type": "array", "items": MILLIS},
            {"type": "array", "items": MICROS},
            [7],
            [EPOCH + timedelta(milliseconds=7)],
        ),
        (logical("string", "uuid"), "string", "x", "x"),
        ("bytes", decimal(9, 2), twos(-5), Decimal("-0.05")),
        (decimal(9, 2), "bytes", twos(-5), twos(-5)),
        (logical("int", "timestamp-millis"), MICROS, 7, EPOCH + timedelta(microseconds=7)),
        (MILLIS, ["string", MICROS], 7, {"member0": None, "member1": EPOCH + timedelta(milliseconds=7)}),
    ],
)
def test_a_value_is_what_the_writer_meant(writer: Any, reader: Any, value: Any, read: Any) -> None:
    found = decoded(writer, reader, [value])
    assert found.reasons == {}
    assert found.frame()["v"].to_list() == [read]


@pytest.mark.parametrize(("reader", "exact"), [("double", 53), ("float", 24)])
@given(
    st.lists(
        st.integers(-(2**63), 2**63 - 1)
        | st.sampled_from(
            [
                s * 2**k + d
                for k in (24, 53, 62, 63)
                for s in (-1, 1)
                for d in (-1, 0, 1)
                if -(2**63) <= s * 2**k + d < 2**63
            ]
        ),
        max_size=8,
    )
)
def test_a_whole_number_that_the_reader_would_round_is_refused(reader: str, exact: int, values: list[int]) -> None:
    found = decoded("long", reader, values)
    held = [
        n
        for n in values
        if (abs(n) >> max(0, abs(n).bit_length() - exact)) << max(0, abs(n).bit_length() - exact) == abs(n)
    ]
    assert [int(v) for v in found.frame()["v"].to_list()] == held
    assert len(found.reasons) == len(values) - len(held)


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}


@pytest.mark.parametrize(
    ("kind", "default", "value"),
    [
        (["null", "string"], "x", "x"),
        (["string", "null"], None, None),
        (["null", "long", "string"], "x", {"member0": None, "member1": "x"}),
        (["null", "string", "double"], 2, {"member0": None, "member1": 2.0}),
        (["long", "string"], "x", {"member0": None, "member1": "x"}),
        (["null", ENUM], "B", "B"),
        (["string", ENUM], "B", {"member0": "B", "member1": None}),
        (["null", MILLIS], 7, EPOCH + timedelta(milliseconds=7)),
        (["null", decimal(5, 2)], "\u0000\u00ff", Decimal("2.55")),
        (["null", {"type": "array", "items": ["null", "long"]}], [1, None], [1, None]),
        ({"type": "record", "name": "R", "fields": [{"name": "a", "type": ["null", "long"]}]}, {"a": 3}, {"a": 3}),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", "B"),
    ],
)
def test_a_default_is_of_the_first_branch_that_takes_it(kind: Any, default: Any, value: Any) -> None:
    registry = MemoryRegistry()
    old = {"type": "record", "name": "Any", "fields": []}
    new = record(kind, default=default)
    schema_id = registry.register(subject_of("t", old), old)
    found = TopicCodec("t", [new], registry).decode([header(schema_id), header(schema_id)])
    assert found.reasons == {}
    assert found.frame()["v"].to_list() == [value, value]


@pytest.mark.parametrize(
    ("kind", "default", "said"),
    [
        (["null", "long"], "x", r"the default of field v is "),
        (["null", "long", "string"], 1.5, r"the default of field v is 1.5 \(float\), not a long or a string"),
        (ENUM, "C", r'the default of field v is "C" \(str\), not one of A, B'),
        ({"type": "fixed", "name": "F", "size": 2}, "x", r"the default of field v is "),
    ],
)
def test_a_default_that_fits_no_branch_is_told(kind: Any, default: Any, said: str) -> None:
    registry = MemoryRegistry()
    old = {"type": "record", "name": "Any", "fields": []}
    schema_id = registry.register(subject_of("t", old), old)
    found = TopicCodec("t", [record(kind, default=default)], registry).decode([header(schema_id)])
    assert found.codes.tolist() == [Code.WRONG_RECORD]
    assert re.search(said, found.reasons[0])
