"""The records of one topic: bytes in, columns and a code per record out; columns in, bytes out.

This is the interface the platform codes against. Flat records whose writer's schema is the reader's are decoded
and encoded field by field over the whole batch. By rule, the rest goes through fastavro record by record:
another writer's schema, types off the fast path, arrays of several lengths in one batch.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
import numpy as np
import polars as pl
from pydantic import ValidationError

from headrace.codec.decode import Failure, decode
from headrace.codec.encode import encode
from headrace.codec.plan import FieldPlan, plan
from headrace.codec.types import polars_schema
from headrace.codec.wire import HEADER, Code, header, read_header
from headrace.errors import SchemaError
from headrace.records import CONTROL_RECORDS, Record
from headrace.registry import Registry, subject_of
from headrace.schemas import full_name

Schema = dict[str, Any]
Codes = np.ndarray[tuple[int], np.dtype[np.int8]]
Places = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Decoded:
    """The result of decoding a batch of n records.

    Attributes:
        codes: int8 (n,), a :class:`Code` for each record.
        kinds: int8 (n,), index of the record's type in the topic's record types; -1 where it failed.
        reasons: place in the batch -> what is wrong, in words, for the records that failed.
    """

    codes: Codes
    kinds: Codes
    reasons: dict[int, str]
    _parts: dict[int, list[_Part]] = field(repr=False)
    _schemas: list[Schema] = field(repr=False)

    def places(self, kind: int = 0) -> Places:
        """Places in the batch of the records of type ``kind``, rising."""
        return np.flatnonzero(self.kinds == kind)

    def frame(self, kind: int = 0) -> pl.DataFrame:
        """The records of type ``kind`` as columns, one row each, in the order of :meth:`places`."""
        schema = polars_schema(self._schemas[kind])
        parts = self._parts.get(kind, [])
        frames = [
            _logical(p.rows if isinstance(p.rows, pl.DataFrame) else _columns(p.rows, schema), schema) for p in parts
        ]
        if not frames:
            return pl.DataFrame(schema=schema)
        if len(frames) == 1:
            return frames[0]
        order = np.argsort(np.concatenate([p.places for p in parts]), kind="stable")
        return pl.concat(frames)[order]


class _Part(NamedTuple):
    """Some of a batch's records: their places, and their values as columns or as one dict each."""

    places: Places
    rows: pl.DataFrame | list[dict[str, Any]]


class _Writer(NamedTuple):
    """What is known of a schema id: whether its records are this topic's, and how they are read."""

    code: Code
    kind: int = -1
    plain: Any = None
    logical: Any = None
    fields: list[FieldPlan] | None = None
    reason: str = ""


class TopicCodec:
    """Encodes and decodes the records of one topic.

    Args:
        topic: full topic name, part of the registry's subject.
        schemas: schema of each record type the topic carries; their order numbers the kinds.
        registry: where schema ids come from. Its outage surfaces as Unavailable from either method.
    """

    def __init__(self, topic: str, schemas: Sequence[Schema], registry: Registry) -> None:
        self.topic = topic
        self.schemas = list(schemas)
        self._registry = registry
        self._names = [full_name(s) for s in schemas]
        self._plain = [fastavro.parse_schema(_without_logical_types(s)) for s in schemas]
        self._parsed = [fastavro.parse_schema(copy.deepcopy(s)) for s in schemas]
        self._plans = [plan(s) for s in schemas]
        self._forms = [_form(s) for s in schemas]
        self._writers: dict[int, _Writer] = {}

    def prepare(self) -> None:
        """Look up the ids this codec writes with; later calls of :meth:`encode` need no registry."""
        for kind in range(len(self.schemas)):
            self._own_id(kind)

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode ``values``; a record that cannot be decoded gets a code and a reason, and no row."""
        codes = np.zeros(len(values), dtype=np.int8)
        kinds = np.full(len(values), -1, dtype=np.int8)
        reasons: dict[int, str] = {}
        parts: dict[int, list[_Part]] = {}
        for head, members in _by_head(values).items():
            code, schema_id = read_header(head)
            writer = self._writer(schema_id) if code is Code.OK else _Writer(code, reason=_HEADER_REASONS[code])
            places = np.array(members, dtype=np.int64)
            if writer.code is not Code.OK:
                codes[places] = writer.code
                reasons |= dict.fromkeys(members, writer.reason)
                continue
            kinds[places] = writer.kind
            bodies = [values[i] or b"" for i in members]
            failed: dict[int, Failure] = {}
            for part in self._read(writer, places, bodies, failed):
                parts.setdefault(writer.kind, []).append(part)
            for place, failure in failed.items():
                codes[place], kinds[place], reasons[place] = failure.code, -1, failure.reason
        return Decoded(codes, kinds, reasons, parts, self.schemas)

    def decode_control(self, value: bytes | None) -> Record:
        """Decode one control record.

        Raises:
            SchemaError: the bytes are no valid record of this topic; the message says why.
        """
        code, schema_id = read_header(value)
        if code is not Code.OK or value is None:
            raise SchemaError(f"{self.topic}: {code.label}: {_HEADER_REASONS[code]}")
        writer = self._writer(schema_id)
        if writer.code is not Code.OK:
            raise SchemaError(f"{self.topic}: {writer.code.label}: {writer.reason}")
        row = _slowly(value, writer.logical, self._parsed[writer.kind])
        if isinstance(row, Failure):
            raise SchemaError(f"{self.topic}: {row.code.label}: {row.reason}")
        try:
            return CONTROL_RECORDS[self.schemas[writer.kind]["name"]].model_validate(row)
        except ValidationError as e:
            raise SchemaError(f"{self.topic}: {self._names[writer.kind]}: {e.errors()[0]['msg']}") from None

    def encode(self, frame: pl.DataFrame, kind: int = 0) -> list[bytes]:
        """Encode each row of ``frame`` as a record of type ``kind``; columns are found by name."""
        if frame.is_empty():
            return []
        prefix = header(self._own_id(kind))
        physical = frame.select(
            pl.col(name).cast(_physical(dtype)) for name, dtype in polars_schema(self.schemas[kind]).items()
        )
        fields = self._plans[kind]
        if fields is not None and (made := encode(fields, physical, prefix)) is not None:
            return made
        out, ends = BytesIO(), [0]
        for row in physical.iter_rows(named=True):
            out.write(prefix)
            fastavro.schemaless_writer(out, self._plain[kind], row)
            ends.append(out.tell())
        data = out.getvalue()
        return [data[a:b] for a, b in itertools.pairwise(ends)]

    def encode_control(self, record: Record) -> bytes:
        """Encode one control record."""
        kind = next(k for k, s in enumerate(self.schemas) if s["name"] == type(record).__name__)
        out = BytesIO()
        out.write(header(self._own_id(kind)))
        fastavro.schemaless_writer(out, self._parsed[kind], record.model_dump())
        return out.getvalue()

    def _own_id(self, kind: int) -> int:
        return self._registry.schema_id(subject_of(self.topic, self.schemas[kind]), self.schemas[kind])

    def _read(
        self, writer: _Writer, places: Places, values: list[bytes], failed: dict[int, Failure]
    ) -> Iterator[_Part]:
        """Decode records of one writer, quickly where they allow it; put those that fail into ``failed``."""
        slow = np.ones(len(values), dtype=bool)
        if writer.fields is not None:
            frame, reader = decode(writer.fields, values)
            failed |= {int(places[row]): failure for row, failure in reader.failures.items()}
            fine = ~(reader.bad | reader.slow)
            if fine.any():
                yield _Part(places[fine], frame if fine.all() else frame.filter(pl.Series(fine)))
            slow = reader.slow & ~reader.bad
        rows, kept = [], []
        for i in np.flatnonzero(slow).tolist():
            row = _slowly(values[i], writer.plain, self._plain[writer.kind])
            if isinstance(row, Failure):
                failed[int(places[i])] = row
            else:
                rows.append(row)
                kept.append(i)
        if rows:
            yield _Part(places[kept], rows)

    def _writer(self, schema_id: int) -> _Writer:
        """What is known of a schema id; remembered, but for one the registry does not know yet."""
        if schema_id in self._writers:
            return self._writers[schema_id]
        writer = self._registry.schema_of(schema_id)
        if writer is None:
            return _Writer(Code.UNKNOWN_SCHEMA, reason=f"the registry knows no schema {schema_id}")
        if full_name(writer) not in self._names:
            reason = f"schema {schema_id} is a {full_name(writer)}; {self.topic} carries {', '.join(self._names)}"
            found = _Writer(Code.WRONG_RECORD, reason=reason)
        else:
            kind = self._names.index(full_name(writer))
            plain, logical = fastavro.parse_schema(_without_logical_types(writer)), fastavro.parse_schema(writer)
            same = _form(writer) == self._forms[kind]
            found = _Writer(Code.OK, kind, plain, logical, self._plans[kind] if same else None)
        self._writers[schema_id] = found
        return found


def _by_head(values: Sequence[bytes | None]) -> dict[bytes | None, list[int]]:
    """Places of the values by their first five bytes; a whole value where it is shorter, None where it is null."""
    heads: dict[bytes | None, list[int]] = {}
    for place, value in enumerate(values):
        head = None if value is None else value[: HEADER.size]
        if head in heads:
            heads[head].append(place)
        else:
            heads[head] = [place]
    return heads


def _slowly(value: bytes, writer: Any, reader: Any) -> dict[str, Any] | Failure:
    """One record by fastavro, from the writer's schema to the reader's."""
    body = BytesIO(value)
    body.seek(HEADER.size)
    try:
        row: Any = fastavro.schemaless_reader(body, writer, reader)
    except Exception as e:  # noqa: BLE001 - damaged bytes make fastavro raise almost anything
        return Failure(Code.UNDECODABLE, f"{type(e).__name__} near byte {body.tell()}: {e}")
    if body.tell() != len(value):
        return Failure(Code.TRAILING_BYTES, f"the record ends at byte {body.tell()} of {len(value)}")
    return dict(row)


def _form(schema: Schema) -> str:
    """What of a schema the bytes depend on: its parsing canonical form."""
    return str(fastavro.schema.to_parsing_canonical_form(fastavro.parse_schema(copy.deepcopy(schema))))


def _columns(rows: list[dict[str, Any]], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame(
        [pl.Series(name, [row[name] for row in rows], dtype=_physical(t), strict=True) for name, t in schema.items()]
    )


def _logical(frame: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """Physical columns cast to the types they stand for."""
    return frame.with_columns(pl.col(name).cast(dtype) for name, dtype in schema.items() if frame.schema[name] != dtype)


_HEADER_REASONS = {
    Code.NULL_VALUE: "the value is null",
    Code.TOO_SHORT: "the value is shorter than a header and a body",
    Code.WRONG_MAGIC: "the first byte is not 0: this is not Confluent wire format",
}


def _physical(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.Datetime):
        return pl.Int64()
    return pl.Int32() if dtype == pl.Date else dtype


def _without_logical_types(schema: Any) -> Any:
    """The schema with logical types removed: timestamps stay integers, which columns take as they are."""
    if isinstance(schema, list):
        return [_without_logical_types(s) for s in schema]
    if isinstance(schema, dict):
        return {k: _without_logical_types(v) for k, v in schema.items() if k not in ("logicalType", "doc")}
    return schema
