# ruff: noqa: E501 - tables, a line a row
"""What each format of file may hold for each type: taken exactly, or refused with the line and the reason."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import fastavro
import polars as pl
import pytest
from backports import zstd

from headrace.codec.moments import Clock
from headrace.errors import ConfigError
from headrace.kafka.log import read_all
from headrace.producers.files import BadRow, Options, push_file
from headrace.producers.files.batch import Damaged
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import RAW, toy
from tests.door_fuzz import same

AT = datetime(2024, 3, 1, 10, tzinfo=UTC)
HEAD = "kind,click_id,user,at,price,bought"
ROW = "seen,c1,u1,2024-03-01T10:00:00Z,9.5,"
EVENT = {"kind": "seen", "click_id": "c1", "user": "u1", "at": "2024-03-01T10:00:00Z", "price": 9.5}
MISSING = object()


def schema_with(kind: Any, **more: Any) -> dict[str, Any]:
    """The toy's events with one more field, ``x``."""
    base: Any = RAW["fields"]
    return {**RAW, "fields": [*base, {"name": "x", "type": kind, **more}]}


def pushed(path: Path, schema: dict[str, Any] | None = None, **options: Any) -> tuple[pl.DataFrame, dict[int, str]]:
    """What came of a file: the rows on raw, and line -> reason of those refused."""
    topics = in_memory(replace(toy("values", partitions=1), raw=schema or RAW))
    bad: list[BadRow] = []
    done = push_file(topics, path, options=Options(**options), report=bad.append)
    frames = [topics.codec("raw").decode(c.values).frame() for c in read_all(topics.log, topics.topic("raw"))]
    found = pl.concat(frames) if frames else pl.DataFrame()
    letters = [r for c in read_all(topics.log, topics.topic("dead")) for _, r in topics.control_records(c)]
    assert (done.sent, done.bad) == (found.height, len(bad))
    assert len(letters) == len(bad)
    return found, {row.line: row.reason for row in bad}


def of_json(folder: Path, kind: Any, *values: str, clock: Clock | None = None, **more: Any) -> list[Any]:
    """What became of values of field ``x``, each given as JSON text: the value, or the reason."""
    head = json.dumps(EVENT)[:-1]
    path = folder / "values.jsonl"
    path.write_text("\n".join(f'{head}, "x": {v}}}' if v else f"{head}}}" for v in values))
    found, bad = pushed(path, schema_with(kind, **more), **({"clock": clock} if clock else {}))
    taken = iter(found["x"].to_list() if found.height else [])
    return [bad[i].removeprefix("field x") if i in bad else next(taken) for i in range(1, len(values) + 1)]


def of_csv(folder: Path, kind: Any, *values: str, clock: Clock | None = None, **more: Any) -> list[Any]:
    """What became of the cells of column ``x``: the value, or the reason."""
    path = folder / "values.csv"
    path.write_text("\n".join([f"{HEAD},x", *(f"{ROW},{v}" for v in values)]))
    found, bad = pushed(path, schema_with(kind, **more), **({"clock": clock} if clock else {}))
    taken = iter(found["x"].to_list() if found.height else [])
    return [bad[i].removeprefix("field x") if i in bad else next(taken) for i in range(2, len(values) + 2)]


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **more}


MICROS, MILLIS = logical("long", "timestamp-micros"), logical("long", "timestamp-millis")
LOCAL = logical("long", "local-timestamp-micros")
DAY, CLOCK = logical("int", "date"), logical("long", "time-micros")
MONEY = logical("bytes", "decimal", precision=9, scale=2)
AMOUNT = logical("bytes", "decimal", precision=38, scale=6)
VIA = {"type": "enum", "name": "Via", "symbols": ["web", "app"], "default": "web"}
GEO = {
    "type": "record",
    "name": "Geo",
    "fields": [
        {"name": "city", "type": ["null", "string"]},
        {"name": "zip", "type": ["null", "string"], "default": None},
    ],
}
BIG = "12345678901234567890123456789012.345678"
NOT_ISO = "times are read as ISO 8601 (2024-03-01T10:00:00Z); declare any other format"


@pytest.mark.parametrize("order", [1, -1])
def test_a_field_of_a_nested_object_is_kept_whatever_the_first_row_lacks(tmp_path: Path, order: int) -> None:
    values = ['{"city": "Oslo"}', '{"city": "Bern", "zip": "3000"}', '{"city": "Rome", "zip": 3}'][::order]
    assert (
        of_json(tmp_path, ["null", GEO], *values)
        == [
            {"city": "Oslo", "zip": None},
            {"city": "Bern", "zip": "3000"},
            ".zip is 3, not a string",
        ][::order]
    )


@pytest.mark.parametrize(
    ("kind", "taken"),
    [
        ({"type": "array", "items": "string"}, {'["a", "b"]': ["a", "b"], "[]": [], "[1]": "[0] is 1, not a string"}),
        ({"type": "map", "values": "long"}, {'{"a": 1}': [{"key": "a", "value": 1}], "{}": [], "[1]": " is an array of 1, not a map"}),
        (["string", "double"], {'"x"': {"member0": "x", "member1": None}, "2.5": {"member0": None, "member1": 2.5},
                                "[1]": " is an array of 1, not a string or a double"}),
        ("double", {'{"a": 3}': " is an object of 1, not a double", "[3.0]": " is an array of 1, not a double", "4": 4.0,
                    '"4"': ' is "4", not a double', "1e400": " is 1E+400, not a double: it is too large",
                    "1e-400": " is 1E-400, not a double: it is too small", "9223372036854775808": 2.0**63,
                    "18446744073709551617": " is 18446744073709551617, not a double: the nearest it can hold is 1.8446744073709552e+19; give a float to have it rounded",
                    "1e300": 1e300,
                    "NaN": "not JSON: NaN is no number of JSON"}),
        ("long", {"1.0": 1, "9007199254740993": 9007199254740993, "2.0": 2, "9007199254740993.0": 9007199254740993, "1e3": 1000,
                  "true": " is true, not a long", '"12"': ' is "12", not a long', "2.5": " is 2.5, not a long: it has a fraction",
                  "9223372036854775808": " is 9223372036854775808, not a long: it is outside of 64 bits"}),
        ("boolean", {"true": True, "1": " is 1, not a boolean", '"true"': ' is "true", not a boolean'}),
        ("string", {'"é"': "é", "1": " is 1, not a string", '{"a": 1}': " is an object of 1, not a string"}),
        (VIA, {'"app"': "app", '"kiosk"': ' is "kiosk", not one of web, app', "0": " is 0, not one of web, app",
               "null": " is missing: it is null, and the schema asks for one of web, app"}),
        (logical("string", "uuid"), {'"587a8139-69f6-45a7-a969-706d47053cae"': "587a8139-69f6-45a7-a969-706d47053cae",
                                     '""': ' is "", not a UUID', '"no"': ' is "no", not a UUID'}),
        ("bytes", {'"ab\\u00ff"': b"ab\xff", '"\\u20ac"': ' is "€", not bytes: it has a character over U+00FF, which stands for no byte'}),
        ({"type": "fixed", "name": "Two", "size": 2}, {'"ab"': b"ab", '"abc"': " is a bytes of 3, not 2 bytes"}),
        (AMOUNT, {BIG: Decimal(BIG), f'"{BIG}"': Decimal(BIG), "99999999999999999999999999999999.999999": Decimal("99999999999999999999999999999999.999999")}),
        (MONEY, {"0.1": Decimal("0.10"), "12.345": " is 12.345, not a decimal of 9 digits, 2 after the point: it would be rounded",
                 "12345678": " is 12345678, not a decimal of 9 digits, 2 after the point: it has more digits before the point"}),
        (DAY, {'"2024-03-01"': date(2024, 3, 1), "19783": date(2024, 3, 1), '"2024-3-1"': ' is "2024-3-1", not a date'}),
        (CLOCK, {'"10:11:12"': time(10, 11, 12), "36672000000": time(10, 11, 12)}),
        (MICROS, {"1704067200000000": datetime(2024, 1, 1, tzinfo=UTC), '"1704067200000000"': datetime(2024, 1, 1, tzinfo=UTC),
                  "1704067200": " is 1704067200, not a time in microseconds: that would be 1970-01-01 00:28; declare its unit if it is another",
                  "1704067200000": " is 1704067200000, not a time in microseconds: that would be 1970-01-20 17:21; declare its unit if it is another",
                  "1704067200000000000": " is 1704067200000000000, not a time in microseconds: it lies outside of the years 1 to 9999",
                  "1704067200.5": " is 1704067200.5, not a time in microseconds: a count has no fraction; declare its unit if it is another"}),
    ],
)  # fmt: skip
def test_json_is_taken_exactly_or_refused_whatever_stands_beside_it(
    tmp_path: Path, kind: Any, taken: dict[str, Any]
) -> None:
    """Together in one file, and each alone in its own, there is one verdict for a value."""
    assert dict(zip(taken, of_json(tmp_path, kind, *taken), strict=True)) == taken
    for text, found in taken.items():
        assert of_json(tmp_path, kind, text) == [found]


@pytest.mark.parametrize(
    ("kind", "taken"),
    [
        ("long", {"1.0": 1, "+4": 4, " 4": 4, "4 ": 4, "1e3": 1000, "9007199254740993": 9007199254740993,
                  "9007199254740993.0": 9007199254740993, "4.5": " is 4.5, not a long: it has a fraction",
                  "1_000": ' is "1_000", not a long', "": ' is "", not a long', "0x10": ' is "0x10", not a long'}),
        (["null", "long"], {"": None, "3.0": 3, "x": ' is "x", not a long'}),
        (["null", "string"], {"": None, "x": "x"}),
        ("string", {"": "", " x ": " x "}),
        ("boolean", {"true": True, "FALSE": False, "1": True, "0": False,
                     "yes": ' is "yes", not a boolean: use true and false, or 1 and 0'}),
        (MICROS, {"2024-03-01T10:00:00Z": AT, "2024-03-01 10:00:00": AT, "2024-03-01T10:00": AT, "20240301T100000Z": AT,
                  "2024-03-01t10:00:00z": AT, '"2024-03-01T10:00:00,5Z"': AT + timedelta(milliseconds=500),
                  "2024-03-01T12:00:00+02:00": AT, "2024-03-01": datetime(2024, 3, 1, tzinfo=UTC), "1709287200000000": AT,
                  "03/05/2024 10:00": f' is "03/05/2024 10:00", not a time in microseconds: {NOT_ISO}',
                  "01.03.2024": f' is "01.03.2024", not a time in microseconds: {NOT_ISO}',
                  "2024/03/05": f' is "2024/03/05", not a time in microseconds: {NOT_ISO}',
                  "2024-02-30T10:00:00Z": ' is "2024-02-30T10:00:00Z", not a time in microseconds: day is out of range for month',
                  "2024-03-01T10:00:00.1234567Z": ' is "2024-03-01T10:00:00.1234567Z", not a time in microseconds: it has parts of a microsecond'}),
        (MONEY, {"5": Decimal("5.00"), "1e3": Decimal(1000), "-0.005": " is -0.005, not a decimal of 9 digits, 2 after the point: it would be rounded",
                 "NaN": ' is "NaN", not a decimal of 9 digits, 2 after the point'}),
        (AMOUNT, {BIG: Decimal(BIG), f"-{BIG}": Decimal(f"-{BIG}")}),
        (DAY, {"2024-03-01": date(2024, 3, 1), "19783": date(2024, 3, 1), "03/01/2024": ' is "03/01/2024", not a date'}),
        (CLOCK, {"10:11": time(10, 11), "10:11:12.5": time(10, 11, 12, 500_000), "36672000000": time(10, 11, 12)}),
        (LOCAL, {"2024-03-01T10:00:00": datetime(2024, 3, 1, 10)}),
        (VIA, {"web": "web", "": ' is "", not one of web, app', "kiosk": ' is "kiosk", not one of web, app'}),
    ],
)  # fmt: skip
def test_the_text_of_a_cell_is_taken_exactly_or_refused_whatever_stands_beside_it(
    tmp_path: Path, kind: Any, taken: dict[str, Any]
) -> None:
    assert dict(zip([t.strip('"') for t in taken], of_csv(tmp_path, kind, *taken), strict=True)) == {
        t.strip('"'): v for t, v in taken.items()
    }
    for text, found in taken.items():
        assert of_csv(tmp_path, kind, text) == [found]


@pytest.mark.parametrize(
    ("clock", "text", "found"),
    [
        (Clock(formats={"": ("%d.%m.%Y %H:%M",)}), "01.03.2024 10:00", AT),
        (Clock(formats={"x": ("%d.%m.%Y", "%m/%d/%Y")}), "03/01/2024", datetime(2024, 3, 1, tzinfo=UTC)),
        (Clock(formats={"x": ("%d.%m.%Y",)}), "2024-03-01", ' is "2024-03-01", not a time in microseconds: it is not written as %d.%m.%Y'),
        (Clock(units={"": "s"}), "1709287200", AT),
        (Clock(units={"x": "s"}), "1709287200.5", AT + timedelta(milliseconds=500)),
        (Clock(units={"x": "ms"}), "1709287200000", AT),
        (Clock(units={"x": "ns"}), "1709287200000000000", AT),
        (Clock(units={"x": "ns"}), "1709287200000000001", ' is "1709287200000000001", not a time in microseconds: it would be rounded'),
        (Clock(ZoneInfo("Europe/Oslo")), "2024-03-01T11:00:00", AT),
        (Clock(ZoneInfo("Europe/Oslo")), "2024-03-01T10:00:00Z", AT),
        (Clock(ZoneInfo("Europe/Oslo")), "2024-03-31T02:30:00", ' is "2024-03-31T02:30:00", not a time in microseconds: the clocks of Europe/Oslo passed over it'),
        (Clock(ZoneInfo("Europe/Oslo")), "2024-10-27T02:30:00", ' is "2024-10-27T02:30:00", not a time in microseconds: in Europe/Oslo it came twice; declare which of the two is meant'),
        (Clock(ZoneInfo("Europe/Oslo"), "first"), "2024-10-27T02:30:00", datetime(2024, 10, 27, 0, 30, tzinfo=UTC)),
        (Clock(ZoneInfo("Europe/Oslo"), "second"), "2024-10-27T02:30:00", datetime(2024, 10, 27, 1, 30, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_formats_units_and_zones_are_what_was_declared(tmp_path: Path, clock: Clock, text: str, found: object) -> None:
    # The declaration of a unit or format for every field is one for `at` too, which this file writes as ISO.
    everywhere = "" in clock.formats or "" in clock.units
    clock = (
        replace(clock, formats={"x": clock.formats[""]} if "" in clock.formats else clock.formats)
        if everywhere
        else clock
    )
    clock = replace(clock, units={"x": clock.units[""]} if "" in clock.units else clock.units) if everywhere else clock
    assert of_csv(tmp_path, MICROS, text, clock=clock) == [found]
    assert of_json(tmp_path, MICROS, f'"{text}"', clock=clock) == [found]


def test_a_declaration_for_a_field_that_is_no_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="declared for att, price; the times of the schema are at, x"):
        of_csv(tmp_path, MICROS, "x", clock=Clock(formats={"att": ("%Y",)}, units={"price": "s"}))


@pytest.mark.parametrize(
    ("more", "explicit_null"),
    [({"default": "app"}, " is missing: it is null, and the schema asks for a string")],
)
def test_a_default_stands_for_a_field_that_a_row_lacks_and_for_no_null(
    tmp_path: Path, more: dict[str, Any], explicit_null: str
) -> None:
    assert of_json(tmp_path, "string", '"web"', "", "null", **more) == ["web", "app", explicit_null]
    assert of_json(tmp_path, "string", "", "", **more) == ["app", "app"]
    assert of_csv(tmp_path, "string", "", "web", **more) == ["", "web"]


@pytest.mark.parametrize(
    ("kind", "default", "held"),
    [(MONEY, "\x00", Decimal("0.00")), ("bytes", "\xff", b"\xff"), (["long", "null"], 5, 5), (DAY, 19783, date(2024, 3, 1)), (VIA, "app", "app")],
)  # fmt: skip
def test_a_default_is_the_value_that_the_schema_says(tmp_path: Path, kind: Any, default: Any, held: Any) -> None:
    assert of_json(tmp_path, kind, "", "", default=default) == [held, held]
    path = tmp_path / "without.csv"
    path.write_text(f"{HEAD}\n{ROW}\n")
    assert pushed(path, schema_with(kind, default=default))[0]["x"].to_list() == [held]


@pytest.mark.parametrize("text", ["{}", '{"y": 1}'])
def test_an_object_without_the_fields_is_a_bad_row(tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("\n".join([text] * 3))
    found, bad = pushed(path)
    told = "field kind is missing, and has no default: the schema asks for a string"
    assert (found.height, bad) == (0, {1: told, 2: told, 3: told})


def test_a_row_without_a_key_is_refused(tmp_path: Path) -> None:
    base: Any = RAW["fields"]
    fields = [{**f, "type": ["null", "string"]} if f["name"] == "user" else f for f in base]
    path = tmp_path / "keys.csv"
    path.write_text(f"{HEAD}\n{ROW}\n{ROW.replace('u1', '')}\n")
    found, bad = pushed(path, {**RAW, "fields": fields})
    assert (found.height, bad) == (1, {3: "field user, the pipeline's key, is null"})


MARKED = f"{HEAD}\n{ROW}\nresult,c1,é,2024-03-01T10:05:00Z,9.5,true\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str, ending: str) -> None:
    path = tmp_path / f"marked.{ending}"
    path.write_bytes(
        (MARKED if ending == "csv" else json.dumps({**EVENT, "user": "é"}, ensure_ascii=False)).encode(encoding)
    )
    found, bad = pushed(path)
    assert (found["user"].to_list(), bad) == (["u1", "é"] if ending == "csv" else ["é"], {})


def test_an_encoding_without_a_mark_is_declared(tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    path.write_bytes(MARKED.encode("utf-16-be"))
    with pytest.raises(ConfigError, match="it begins like utf-16-be: say --encoding utf-16-be"):
        pushed(path)
    assert pushed(path, encoding="utf-16-be")[0]["user"].to_list() == ["u1", "é"]
    path.write_bytes(MARKED.encode("latin-1"))
    found, bad = pushed(path)
    assert found["user"].to_list() == ["u1"]
    assert set(bad) == {3}
    assert pushed(path, encoding="latin-1")[0]["user"].to_list() == ["u1", "é"]
    with pytest.raises(ConfigError, match="there is no encoding 'klingon'"):
        pushed(path, encoding="klingon")


def test_bytes_of_another_encoding_in_json_lines_cost_their_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(json.dumps(EVENT).encode() + b'\n{"user": "caf\xe9"}\n' + json.dumps(EVENT).encode())
    found, bad = pushed(path)
    assert (found.height, bad) == (2, {2: "not JSON: not UTF-8: byte 14 is 0xe9"})


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_end_anywhere(tmp_path: Path, end: str) -> None:
    path = tmp_path / "ends.csv"
    path.write_text(end.join([HEAD, ROW, "", f'{ROW[:-1]},""', "", ROW]), newline="")
    found, bad = pushed(path)
    assert (found.height, bad) == (3, {})


def test_rows_after_a_stretch_of_blank_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "blank.csv"
    path.write_text(f"{HEAD}\n{ROW}\n" + "\n" * 25_000 + f"{ROW}\n")
    assert pushed(path)[0].height == 2


def test_a_quoted_cell_may_hold_anything_and_a_long_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "quoted.csv"
    long = "x" * 300_000
    cells = ['"a,b"', '"line\r\nline"', '"say ""hi"""', f'"{long}"', "after"]
    path.write_text(f"{HEAD},x\n" + "".join(f"{ROW},{cell}\n" for cell in cells), newline="")
    found, bad = pushed(path, schema_with("string"))
    assert (found["x"].to_list(), bad) == (["a,b", "line\r\nline", 'say "hi"', long, "after"], {})


def test_a_quote_that_is_not_closed_costs_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "open.csv"
    path.write_text("\n".join([HEAD, ROW, ROW.replace("u1", '"u1'), *[ROW] * 50]))
    found, bad = pushed(path)
    assert (found.height, bad) == (51, {3: "a quote is opened in this line and never closed"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind,price,price\n", "the header names 'price' twice"),
        (f"{HEAD},x,x\n{ROW},1,2", "the header names 'x' twice"),
        (HEAD.replace(",", ";"), "the columns are separated by ';', not by ','"),
        (HEAD.replace(",", "\t"), "the columns are separated by tab, not by ','"),
        (HEAD.replace("kind", "Kind"), "there is no column for kind; .* 'Kind' for 'kind'"),
        ("a,b\n1,2", "there is no column for kind, click_id, user, at, price; the header names a, b"),
        ("", "the file is empty"),
    ],
)
def test_a_header_that_cannot_be_meant_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "header.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told) as refused:
        pushed(path)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(path))


def test_a_csv_file_has_no_column_for_an_array(tmp_path: Path) -> None:
    path = tmp_path / "array.csv"
    path.write_text(f'{HEAD},x\n{ROW},"[1]"')
    with pytest.raises(ConfigError, match="field x is an array, which CSV cannot hold"):
        pushed(path, schema_with(["null", {"type": "array", "items": "long"}], default=None))


def test_columns_that_the_schema_does_not_have_are_named(tmp_path: Path) -> None:
    topics = in_memory(replace(toy("unknown", partitions=1), raw=schema_with(["null", GEO], default=None)))
    path = tmp_path / "more.jsonl"
    path.write_text(
        "\n".join([json.dumps({**EVENT, "extra": 1}), json.dumps({**EVENT, "x": {"city": "Oslo", "street": 1}})])
    )
    done = push_file(topics, path)
    assert (done.sent, done.bad, done.unknown) == (2, 0, {"extra", "x.street"})


@pytest.mark.parametrize(
    "line",
    [
        '{"user": "a", "user": "b"}',
        '{"user" :"a","user":"b"}',
        '{"user":"a","user"\t:"b"}',
        '{"user": "c\\ud800"}',
        '{"user":' * 5000,
        '{"user": ' + "[" * 100_000,
        "[1, 2]",
        "nonsense",
        f'{{"price": {"1" * 5000}}}',
    ],
)
def test_a_line_of_json_that_no_row_can_be_costs_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "lines.jsonl"
    good = json.dumps(EVENT)
    path.write_text(
        "\n".join([good, line.replace('{"user"', f'{good[:-1]}, "note"') if "ud800" in line else line, good])
    )
    found, bad = pushed(path)
    assert found.height + len(bad) == 3
    assert set(bad) <= {2}
    assert "ud800" in line or set(bad) == {2}


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("name", ["rows.csv", "ROWS.CSV", "rows.jsonl"])
def test_a_compressed_file_is_read_and_one_that_is_cut_is_told(tmp_path: Path, ending: str, name: str) -> None:
    text = (MARKED if "csv" in name.lower() else f"{json.dumps(EVENT)}\n" * 2).encode()
    whole = COMPRESS[ending](text)
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(whole)
    assert pushed(path)[0].height == 2
    path.write_bytes(whole[:-9])
    with pytest.raises(Damaged):
        pushed(path)


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "snappy", "zstandard", "lz4"])
def test_an_avro_file_of_each_codec_is_read_and_one_that_is_cut_gives_what_came_before(
    tmp_path: Path, codec: str
) -> None:
    rows = [{**EVENT, "click_id": f"c{i}", "at": AT, "bought": None} for i in range(3000)]
    path = tmp_path / "rows.avro"
    with path.open("wb") as file:
        fastavro.writer(file, {**RAW}, rows, codec=codec, sync_interval=500)
    assert pushed(path)[0]["click_id"].to_list() == [r["click_id"] for r in rows]
    path.write_bytes(path.read_bytes()[:-11])
    topics = in_memory(toy("cut", partitions=1))
    with pytest.raises(Damaged, match=r"damaged after row [0-9,]+.* rows before that were pushed"):
        push_file(topics, path)
    [chunk] = read_all(topics.log, topics.topic("raw"))
    assert 2000 < len(chunk) < 3000


def test_an_avro_file_of_another_schema_is_read_by_its_own_types(tmp_path: Path) -> None:
    """A scale of three and milliseconds are values, not bytes to be read as others."""
    base: Any = RAW["fields"]
    own = [{**f, "type": MILLIS} if f["name"] == "at" else f for f in base]
    written = {**RAW, "fields": [*own, {"name": "x", "type": logical("bytes", "decimal", precision=9, scale=3)}]}
    rows = [{**EVENT, "at": AT, "bought": None, "x": Decimal(text)} for text in ("1.230", "1.234")]
    path = tmp_path / "other.avro"
    with path.open("wb") as file:
        fastavro.writer(file, written, rows)
    found, bad = pushed(path, schema_with(MONEY))
    assert (found["at"].to_list(), found["x"].to_list()) == ([AT], [Decimal("1.23")])
    assert bad == {2: "field x is 1.234, not a decimal of 9 digits, 2 after the point: it would be rounded"}


FRAME = pl.DataFrame({**{k: [v] * 2 for k, v in EVENT.items()}, "at": [AT, AT]}, schema_overrides={"at": pl.Datetime("us", "UTC")})  # fmt: skip


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("name", "column", "found"),
    [
        ("user", pl.Series([b"u1", b"\xff\xfe"]), ["u1", " is a bytes of 2, not a string: the bytes are not UTF-8"]),
        ("user", pl.Series(["a", "b"], dtype=pl.Categorical), ["a", "b"]),
        ("user", pl.Series([1, 2]), ["1", "2"]),
        ("at", pl.Series(["2024-03-01T10:00:00Z", "x"]), [AT, f' is "x", not a time in microseconds: {NOT_ISO}']),
        ("at", pl.Series([AT, AT]).dt.convert_time_zone("Europe/Berlin"), [AT, AT]),
        ("at", pl.Series([date(2024, 3, 1)] * 2), [datetime(2024, 3, 1, tzinfo=UTC)] * 2),
        ("at", pl.Series([AT.replace(tzinfo=None)] * 2).dt.cast_time_unit("ns") + pl.Series([0, 1]).cast(pl.Duration("ns")),
         [AT, ' is "2024-03-01T10:00:00.000000001", not a time in microseconds: it has parts of a microsecond']),
        ("price", pl.Series(["1", "2"]), [' is "1", not a double', ' is "2", not a double']),
        ("price", pl.Series([1, 2**53 + 1]), [1.0, " is 9007199254740993, not a double: the nearest it can hold is 9007199254740992.0; give a float to have it rounded"]),
        ("price", pl.Series([Decimal("0.1"), Decimal("2")], dtype=pl.Decimal(9, 2)), [0.1, 2.0]),
    ],
)  # fmt: skip
def test_typed_columns_are_taken_exactly_or_refused(
    tmp_path: Path, ending: str, name: str, column: pl.Series, found: list[Any]
) -> None:
    frame = FRAME.with_columns(column.alias(name))
    path = tmp_path / f"rows.{ending}"
    frame.write_parquet(path) if ending == "parquet" else frame.write_ipc(path)
    taken, bad = pushed(path)
    values = iter(taken[name].to_list() if taken.height else [])
    assert [bad[i].removeprefix(f"field {name}") if i in bad else next(values) for i in (1, 2)] == found


def test_nested_columns_come_back_as_they_are(tmp_path: Path) -> None:
    kind: Any = {"type": "record", "name": "R", "fields": [
        {"name": "l", "type": {"type": "array", "items": MONEY}}, {"name": "m", "type": {"type": "map", "values": MICROS}}]}  # fmt: skip
    value = {"l": [Decimal("1.25"), Decimal("0.00")], "m": [{"key": "a", "value": AT}]}
    dtype = pl.Struct(
        {"l": pl.List(pl.Decimal(9, 2)), "m": pl.List(pl.Struct({"key": pl.String, "value": pl.Datetime("us", "UTC")}))}
    )
    path = tmp_path / "nested.parquet"
    FRAME.with_columns(pl.Series("x", [value, value], dtype=dtype)).write_parquet(path)
    found, bad = pushed(path, schema_with(kind))
    assert bad == {}
    assert same(found["x"].to_list(), [value, value])
