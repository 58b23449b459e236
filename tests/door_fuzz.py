# ruff: noqa: E501 - tables, a line a row
"""Random schemas and values through every door and back from the topic: equal, or refused with its line.

``python -m tests.door_fuzz --values 1000000`` (minutes). The values come back through fastavro, not through the codec.
A second law is held to on hostile values: a batch is taken as each of its rows is alone.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import struct
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import polars as pl
from rich.progress import track

from headrace.client.events import EventProducer
from headrace.codec.coerce import codec_of
from headrace.codec.forms import column_form, json_form, text_form
from headrace.codec.frame_rows import FrameRows
from headrace.codec.misfit import Misfit
from headrace.codec.rows import RowEncoder
from headrace.codec.tree import parse
from headrace.codec.types import polars_schema
from headrace.codec.values import form_encoder
from headrace.errors import SchemaError
from headrace.kafka.log import read_all
from headrace.producers.files.batch import BadRow, Options
from headrace.producers.files.csv_rows import CsvRows
from headrace.producers.files.json_rows import JsonRows, as_object
from headrace.producers.files.push import push_file
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import RAW, toy

CODECS = ("null", "deflate", "bzip2", "xz", "snappy", "zstandard")
BLANKS = ("", "", "", " ", "\t")
DOORS = ("csv", "jsonl", "parquet", "arrow", "avro", "send")
Rng = random.Random


@dataclass(frozen=True)
class Kind:
    """A type: its schema, values of it, each as text and as JSON text, and values that are none of it."""

    schema: Any
    value: Callable[[Rng], Any]
    text: Callable[[Any], str] | None
    json: Callable[[Any], str]
    misfits: Sequence[Any] = ()


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **more}


def word(rng: Rng) -> str:
    return "".join(rng.choice("abcdeé€𝄞\"' ,;\\\t_0") for _ in range(rng.randrange(9)))


def single(rng: Rng) -> float:
    found: float = struct.unpack("<f", struct.pack("<f", rng.uniform(-1e9, 1e9)))[0]
    return found


def wide(rng: Rng) -> float:
    found: float = struct.unpack("<d", rng.randbytes(8))[0]
    return found if math.isfinite(found) else rng.choice([0.0, -0.0, 0.1, 1e-320, 1.5e308])


def moment(rng: Rng) -> datetime:
    return datetime(1971, 1, 1, tzinfo=UTC) + timedelta(microseconds=rng.randrange(4 * 10**15))


def to_millis(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def iso(at: Any) -> str:
    return str(at.isoformat().replace("+00:00", "Z"))


def quoted(text: Any) -> str:
    return json.dumps(str(text), ensure_ascii=False)


def plain(value: Any) -> str:
    return json.dumps(value)


def latin(value: bytes) -> str:
    return value.decode("latin-1")


def decimals(precision: int, scale: int) -> Callable[[Rng], Decimal]:
    return lambda rng: Decimal(f"{rng.randrange(-(10**precision) + 1, 10**precision)}e-{scale}")


def nested(rng: Rng) -> dict[str, Any]:
    return {"a": word(rng), "b": rng.choice([None, rng.randrange(-99, 99)])}


def integers(bits: int) -> Callable[[Rng], int]:
    return lambda rng: rng.randrange(-(1 << bits - 1), 1 << bits - 1)


POINT = {
    "type": "record",
    "name": "Point",
    "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": ["null", "long"], "default": None}],
}
KINDS: dict[str, Kind] = {
    "boolean": Kind("boolean", lambda r: r.random() < 0.5, plain, plain, ("maybe", [1], {"a": 1})),
    "int": Kind("int", integers(32), str, plain, (1 << 31, "1.5", "x", [1])),
    "long": Kind("long", integers(64), str, plain, (1 << 63, "1.5", "0x1", {"a": 1})),
    "float": Kind("float", single, repr, plain, ("1e39", "x", [1.0])),
    "double": Kind("double", wide, repr, plain, ("1e309", "x", 2**53 + 1, {"a": 1})),
    "string": Kind("string", word, str, quoted, ([1], {"a": 1})),
    "bytes": Kind("bytes", lambda r: r.randbytes(r.randrange(5)), latin, lambda v: quoted(latin(v)), ("€", [1])),
    "fixed": Kind(
        {"type": "fixed", "name": "Four", "size": 4}, lambda r: r.randbytes(4), latin, lambda v: quoted(latin(v)), ("abc",)
    ),
    "enum": Kind(
        {"type": "enum", "name": "Via", "symbols": ["web", "app"]},
        lambda r: r.choice(["web", "app"]),
        str,
        quoted,
        ("Web", "kiosk", [1]),
    ),
    "uuid": Kind(
        logical("string", "uuid"), lambda r: str(UUID(int=r.getrandbits(128))), str, quoted, ("no", "0" * 36)
    ),
    "money": Kind(logical("bytes", "decimal", precision=9, scale=2), decimals(9, 2), str, str, ("1.005",)),
    "amount": Kind(logical("bytes", "decimal", precision=38, scale=6), decimals(38, 6), str, str, ("x", "1e40")),
    "day": Kind(logical("int", "date"), lambda r: date(1, 1, 1) + timedelta(r.randrange(3_650_000)), iso, lambda v: quoted(iso(v)), ("2024-3-1", "01/02/2024")),
    "clock": Kind(
        logical("long", "time-micros"),
        lambda r: (datetime.min + timedelta(microseconds=r.randrange(86_400_000_000))).time(),
        iso,
        lambda v: quoted(iso(v)),
        ("25:00", "10:11:12Z"),
    ),
    "clock_ms": Kind(
        logical("int", "time-millis"),
        lambda r: (datetime.min + timedelta(milliseconds=r.randrange(86_400_000))).time(),
        iso,
        lambda v: quoted(iso(v)),
        ("10:11:12.0001",),
    ),
    "moment": Kind(logical("long", "timestamp-micros"), moment, iso, lambda v: quoted(iso(v)), ("1704067200", "03/05/2024")),
    "moment_ms": Kind(logical("long", "timestamp-millis"), lambda r: to_millis(moment(r)), iso, lambda v: quoted(iso(v)), ("2024-03-01T10:00:00.0001Z",)),
    "local": Kind(logical("long", "local-timestamp-micros"), lambda r: moment(r).replace(tzinfo=None), iso, lambda v: quoted(iso(v)), ("2024-03-01T10:00:00Z",)),
    "list": Kind({"type": "array", "items": "long"}, lambda r: [integers(64)(r) for _ in range(r.randrange(4))], None, plain, ([1.5], 3)),
    "map": Kind({"type": "map", "values": "double"}, lambda r: {word(r): wide(r) for _ in range(r.randrange(3))}, None, lambda v: json.dumps(v, ensure_ascii=False), ({"a": "x"}, 3)),
    "record": Kind(POINT, nested, None, lambda v: json.dumps(v, ensure_ascii=False), ({"b": 1}, 3)),
    "either": Kind(["string", "double"], lambda r: word(r) if r.random() < 0.5 else wide(r), None, lambda v: json.dumps(v, ensure_ascii=False), ([1],)),
}  # fmt: skip


def draw_schema(rng: Rng) -> tuple[dict[str, Any], dict[str, Kind]]:
    """A record of a key and some fields, each of its own kind, some of which may be null."""
    names = rng.sample(list(KINDS), rng.randrange(1, 7))
    base: Any = RAW["fields"]
    fields: list[dict[str, Any]] = list(base)
    for name in names:
        kind: Any = copy.deepcopy(KINDS[name].schema)
        if rng.random() < 0.4:
            branches = kind if isinstance(kind, list) else [kind]
            fields.append({"name": name, "type": ["null", *branches], "default": None})
        else:
            fields.append({"name": name, "type": kind})
    return {**RAW, "fields": fields}, {n: KINDS[n] for n in names}


def draw_rows(rng: Rng, schema: dict[str, Any], kinds: dict[str, Kind], count: int) -> list[dict[str, Any]]:
    nullable = {f["name"] for f in schema["fields"] if isinstance(f["type"], list) and "null" in f["type"]}
    rows = []
    for i in range(count):
        row: dict[str, Any] = {"kind": "seen", "click_id": f"c{i}", "user": f"u{i % 3}", "at": moment(rng)}
        row |= {"price": wide(rng), "bought": rng.choice([None, True])}
        for name, kind in kinds.items():
            row[name] = None if name in nullable and rng.random() < 0.3 else kind.value(rng)
        rows.append(row)
    return rows


def write(door: str, folder: Path, rng: Rng, schema: dict[str, Any], kinds: dict[str, Kind], rows: list[Any]) -> Any:
    """The rows as a file of one kind; rows that were spoilt hold, under one name, a value that is none of its type."""
    path = folder / f"rows.{door}"
    if door == "csv":
        names = list(rows[0])
        lines = [",".join(names), *(",".join(_cell(kinds.get(n), row[n]) for n in names) for row in rows)]
        path.write_text("\n".join(lines), encoding="utf-8", newline="")
    elif door == "jsonl":
        lines = []
        for row in rows:
            parts = [f"{json.dumps(n)}:{_json(kinds.get(n), v)}" for n, v in row.items()]
            lines.append("{" + ",".join(parts) + "}")
        path.write_text("\n".join(lines), encoding="utf-8", newline="")
    elif door == "avro":
        with path.open("wb") as file:
            fastavro.writer(
                file, copy.deepcopy(schema), rows, codec=rng.choice(CODECS), sync_interval=rng.choice([100, 16000])
            )
    else:
        frame = _frame(schema, rows)
        frame.write_parquet(path) if door == "parquet" else frame.write_ipc(path)
    return path


def _cell(kind: Kind | None, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Spoilt):
        return _quoted(str(value.value))
    return _quoted(_base(value) if kind is None else kind.text(value))  # type: ignore[misc]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n\r') else text


def _json(kind: Kind | None, value: Any) -> str:
    if isinstance(value, Spoilt):
        return json.dumps(value.value)
    if value is None:
        return "null"
    if kind is None:
        return plain(value) if isinstance(value, bool | float) else quoted(_base(value))
    return kind.json(value)


def _base(value: Any) -> str:
    """A value of one of the toy's own fields, as text."""
    if isinstance(value, datetime):
        return iso(value)
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def _frame(schema: dict[str, Any], rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Columns of the schema's own Polars types."""
    fields = {f["name"]: f["type"] for f in schema["fields"]}
    columns = []
    for name, dtype in polars_schema(schema).items():
        values = [_polars_value(fields[name], row[name]) for row in rows]
        columns.append(pl.Series(name, values, dtype=dtype, strict=True))
    return pl.DataFrame(columns)


def _polars_value(kind: Any, value: Any) -> Any:
    branches = [k for k in kind if k != "null"] if isinstance(kind, list) else [kind]
    if value is None:
        return None
    if len(branches) > 1:
        mine = 0 if isinstance(value, str) else 1
        return {"member0": value if mine == 0 else None, "member1": value if mine == 1 else None}
    if isinstance(branches[0], dict) and branches[0]["type"] == "map":
        return [{"key": k, "value": v} for k, v in value.items()]
    return value


@dataclass(frozen=True)
class Spoilt:
    """A value that its field does not take."""

    value: Any


def read_back(topics: Any, schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is on raw, by id, as fastavro reads it."""
    parsed = fastavro.parse_schema(copy.deepcopy(schema))
    found = {}
    for chunk in read_all(topics.log, topics.topic("raw")):
        for value in chunk.values:
            file = BytesIO((value or b"")[5:])
            row: Any = fastavro.schemaless_reader(file, parsed, None)
            assert file.read() == b""
            found[row["click_id"]] = row
    return found


def same(one: Any, other: Any) -> bool:
    """Equal, floats to the bit, UUIDs and text alike."""
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other or (isinstance(other, UUID) and str(other) == one))


def through_a_door(rng: Rng, door: str, count: int) -> int:
    """Push rows of a random schema, some of them spoilt, and hold what came to what was meant; gives the values."""
    schema, kinds = draw_schema(rng)
    if door == "csv" and any(k.text is None for k in kinds.values()):
        schema["fields"] = [f for f in schema["fields"] if f["name"] not in kinds or kinds[f["name"]].text]
        kinds = {n: k for n, k in kinds.items() if k.text}
    topics = in_memory(replace(toy("door", partitions=2), raw=schema))
    rows = draw_rows(rng, schema, kinds, count)
    spoilt: set[int] = set()
    if door in ("csv", "jsonl", "send") and kinds:
        for i in rng.sample(range(count), count // 10):
            name = rng.choice(list(kinds))
            takes_text = door == "csv"
            misfits = [m for m in kinds[name].misfits if not takes_text or isinstance(m, str | int)]
            if misfits and not (door == "send" and isinstance(misfits[0], str) and name in ("money",)):
                rows[i] = {**rows[i], name: Spoilt(rng.choice(misfits))}
                spoilt.add(i)
    if door == "csv":
        _empty_text_is_null(schema, rows)
    bad: list[BadRow] = []
    if door == "send":
        refused = set()
        with EventProducer(topics) as producer:
            for i, row in enumerate(rows):
                try:
                    producer.send({n: v.value if isinstance(v, Spoilt) else v for n, v in row.items()})
                except SchemaError:
                    refused.add(i)
        lines = refused
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = write(door, Path(folder), rng, schema, kinds, rows)
            push_file(topics, path, report=bad.append)
        # A record of a CSV file may go over several lines: its id says which one it is.
        lines = {int(json.loads(b.text)["click_id"][1:]) if door == "csv" else b.line - 1 for b in bad}
    found = read_back(topics, schema)
    meant = {row["click_id"]: row for i, row in enumerate(rows) if i not in lines}
    assert lines == spoilt, (door, schema, [rows[i] for i in lines ^ spoilt][:3], bad[:3])
    assert found.keys() == meant.keys(), (door, schema)
    for key, row in meant.items():
        assert same(row, found[key]), (door, schema, row, found[key])
    return count * len(schema["fields"])


def _empty_text_is_null(schema: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """In CSV an empty cell is null where the field may be null."""
    nullable = [f["name"] for f in schema["fields"] if isinstance(f["type"], list)]
    for row in rows:
        for name in nullable:
            if row[name] in ("", b""):
                row[name] = None


TEXTS = (
    "", " ", "0", "-0", "+4", " 4", "4 ", "007", "1_000", "1,5", "1.0", "-0.0", "0.00", "1e3", "1E3", ".5", "5.", "1e400", "1e-400",
    "9007199254740993", "9007199254740993.0", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "2147483648",
    "nan", "NaN", "inf", "-Infinity", "0x10", "true", "TRUE", "t", "yes", "1", "é", "\u0661", "x", "web", "app", "Web", "null", "NULL",
    "2024-03-01", "2024-3-1", "2024-02-30", "0000-01-01", "10:11:12", "24:00:00", "2024-03-01T10:00:00Z", "2024-03-01 10:00:00",
    "2024-03-01T10:00:00", "2024-03-01T10:00:00.123456Z", "2024-03-01T10:00:00.1234567Z", "2024-03-01T10:00:60Z", "2024-03-01T24:00:00Z",
    "2024-03-01T10:00:00+02:00", "2024-03-01t10:00:00z", "20240301T100000Z", "1704067200", "1704067200000000", "1704067200000000000",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "16777217", "3.4028236e38", "1e-46", "1.17549435e-38", "0.1", "123456789012345678901234567890",
    "587a8139-69f6-45a7-a969-706d47053cae", "587A8139-69F6-45A7-A969-706D47053CAE", "12.345", "99999999.99", "1e1000000000000000000", "abcd",
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, -0.0, 0.0, 1, -1, 1.0, 2.5, 1e300, -1e39, 1e-46, 5e-324, 2**53, 2**53 + 1, 2**24 + 1, 2**31, 2**63 - 1, -(2**63), True, False,
    1704067200, 1704067200000, 1704067200000000, 1704067200000000000, 19783, 36672000000,
)  # fmt: skip


def alone_or_together(rng: Rng, form: str, count: int) -> int:
    """Hostile values of one form: a batch gives what its rows give one by one."""
    schema, kinds = draw_schema(rng)
    names = [n for n, k in kinds.items() if k.text] or ["long"]
    schema["fields"] = [f for f in schema["fields"] if f["name"] in ("user", *names)]
    names = [f["name"] for f in schema["fields"]]
    nasty = rng.random()
    rows: Any
    if form == "csv":
        cells = [[_nasty_text(rng, n, nasty) for n in names] for _ in range(count)]
        rows, takes = (
            CsvRows(pl.DataFrame(cells, schema=dict.fromkeys(names, pl.String()), orient="row"), Options()),
            text_form(),
        )
    elif form == "json":
        sources = [
            (
                "{" + ",".join(f"{json.dumps(n)}{rng.choice(BLANKS)}:{_nasty_json(rng, n, nasty)}" for n in names) + "}"
            ).encode()
            for _ in range(count)
        ]
        objects = [as_object(s) for s in sources]
        kept = [i for i, o in enumerate(objects) if isinstance(o, dict)]
        rows = JsonRows([objects[i] for i in kept], [sources[i] for i in kept], Options())  # type: ignore[misc]
        takes = json_form()
    else:
        columns = [_nasty_column(rng, n, count) for n in names]
        rows, takes = FrameRows(pl.DataFrame(columns), parse(schema).fields), column_form()
    codec = codec_of(schema)
    found = RowEncoder(codec, takes, unknown=lambda _: None).encode(rows)
    together: dict[int, bytes | str] = dict(zip(found.places.tolist(), found.values.to_list(), strict=True))  # type: ignore[arg-type]
    together |= {bad.row: bad.reason for bad in found.bad}
    encode, header = form_encoder(schema, takes, lambda _: None), codec.header()
    for i in range(rows.height):
        try:
            alone: bytes | str = header + encode(rows.row(i))
        except Misfit as e:
            alone = str(e)
        assert together[i] == alone, (form, schema, rows.row(i), together[i], alone)
    return count * len(names)


def _nasty_text(rng: Rng, name: str, nasty: float) -> str:
    kind = KINDS.get(name)
    if kind is not None and kind.text is not None and rng.random() > nasty:
        return kind.text(kind.value(rng))
    return rng.choice(TEXTS)


def _nasty_json(rng: Rng, name: str, nasty: float) -> str:
    kind = KINDS.get(name)
    if kind is None:
        return '"u"'
    if rng.random() > nasty:
        return kind.json(kind.value(rng))
    roll = rng.random()
    if roll < 0.4:
        return json.dumps(rng.choice(TEXTS))
    if roll < 0.8:
        return json.dumps(rng.choice(NUMBERS))
    return rng.choice(
        [
            "null",
            "[1]",
            '{"a":1}',
            "1E3",
            "1e-400",
            "-1e-5000",
            "12345678901234567890123.5",
            "0.1",
            "-0",
            "18446744073709551617",
            "-36893488147419103233",
            "1e30",
        ]
    )


def _nasty_column(rng: Rng, name: str, count: int) -> pl.Series:
    kind = KINDS.get(name)
    if kind is None:
        return pl.Series(name, ["u"] * count)
    ints = [rng.choice([n for n in NUMBERS if type(n) is int and abs(n) < 2**63]) for _ in range(count)]
    nulls = [rng.random() < 0.2 for _ in range(count)]
    roll = rng.randrange(9)
    made = [
        lambda: pl.Series([rng.choice(TEXTS) for _ in range(count)]),
        lambda: pl.Series(ints, dtype=pl.Int64),
        lambda: pl.Series([float(rng.choice(NUMBERS)) for _ in range(count)], dtype=pl.Float64),
        lambda: pl.Series([rng.choice([0.1, 1.0, 3e38, 1e-45]) for _ in range(count)], dtype=pl.Float32),
        lambda: pl.Series(ints, dtype=pl.Int64).cast(pl.Datetime(rng.choice(["ns", "us", "ms"]), rng.choice([None, "UTC", "Europe/Oslo"]))),
        lambda: pl.Series([date(2024, 1, 1) + timedelta(i) for i in range(count)]),
        lambda: pl.Series([rng.random() < 0.5 for _ in range(count)]),
        lambda: pl.Series([Decimal(rng.randrange(-(10**9), 10**9)).scaleb(-2) for _ in range(count)], dtype=pl.Decimal(12, rng.choice([2, 4]))),
        lambda: pl.Series([kind.value(rng) for _ in range(count)], dtype=polars_schema({"type": "record", "name": "R", "fields": [{"name": "f", "type": copy.deepcopy(kind.schema)}]})["f"]),
    ][roll]()  # fmt: skip
    return made.set(pl.Series(nulls), None).alias(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    given = parser.parse_args()
    print(f"seed {given.seed}")
    rng, done, rounds = random.Random(given.seed), 0, 0
    for _ in track(range(given.values // 4000), description="values"):
        for door in DOORS:
            done += through_a_door(rng, door, rng.choice([1, 2, 40, 150]))
        for form in ("csv", "json", "columns"):
            done += alone_or_together(rng, form, rng.choice([1, 3, 60, 150]))
        rounds += 1
    print(f"{done:,} values in {rounds} rounds: each equal, or refused with its line; each alone as among others")


if __name__ == "__main__":
    main()
