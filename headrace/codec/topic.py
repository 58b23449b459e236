"""The records of one topic: bytes in, columns and a code per record out; columns in, bytes out.

This is the interface the platform codes against. Behind it, fastavro reads and writes record by record.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import polars as pl
from pydantic import ValidationError

from headrace.codec.types import polars_schema
from headrace.codec.wire import HEADER, Code, header, read_header
from headrace.errors import SchemaError
from headrace.records import CONTROL_RECORDS, Record
from headrace.registry import Registry, subject_of
from headrace.schemas import full_name

Schema = dict[str, Any]
Codes = np.ndarray[tuple[int], np.dtype[np.int8]]


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
    _rows: dict[int, list[dict[str, Any]]] = field(repr=False)
    _schemas: list[Schema] = field(repr=False)

    def places(self, kind: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Places in the batch of the records of type ``kind``, rising."""
        return np.flatnonzero(self.kinds == kind)

    def frame(self, kind: int = 0) -> pl.DataFrame:
        """The records of type ``kind`` as columns, one row each, in the order of :meth:`places`."""
        rows = self._rows.get(kind, [])
        columns = []
        for name, dtype in polars_schema(self._schemas[kind]).items():
            raw = pl.Series(name, [row[name] for row in rows], dtype=_physical(dtype), strict=True)
            columns.append(raw.cast(dtype))
        return pl.DataFrame(columns)


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
        self._writers: dict[int, tuple[Code, int, Any, str]] = {}

    def prepare(self) -> None:
        """Look up the ids this codec writes with; later calls of :meth:`encode` need no registry."""
        for kind in range(len(self.schemas)):
            self._own_id(kind)

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode ``values``; a record that cannot be decoded gets a code and a reason, and no row."""
        codes = np.zeros(len(values), dtype=np.int8)
        kinds = np.full(len(values), -1, dtype=np.int8)
        reasons: dict[int, str] = {}
        rows: dict[int, list[dict[str, Any]]] = {}
        for place, value in enumerate(values):
            code, kind, row = self._decode_one(value, logical=False)
            if code is Code.OK:
                kinds[place] = kind
                rows.setdefault(kind, []).append(row)
            else:
                codes[place] = code
                reasons[place] = row
        return Decoded(codes, kinds, reasons, rows, self.schemas)

    def decode_control(self, value: bytes | None) -> Record:
        """Decode one control record.

        Raises:
            SchemaError: the bytes are no valid record of this topic; the message says why.
        """
        code, kind, row = self._decode_one(value, logical=True)
        if code is not Code.OK:
            raise SchemaError(f"{self.topic}: {code.label}: {row}")
        try:
            return CONTROL_RECORDS[self.schemas[kind]["name"]].model_validate(row)
        except ValidationError as e:
            raise SchemaError(f"{self.topic}: {self._names[kind]}: {e.errors()[0]['msg']}") from None

    def encode(self, frame: pl.DataFrame, kind: int = 0) -> list[bytes]:
        """Encode each row of ``frame`` as a record of type ``kind``; columns are found by name."""
        if frame.is_empty():
            return []
        prefix = header(self._own_id(kind))
        physical = frame.select(
            pl.col(name).cast(_physical(dtype)) for name, dtype in polars_schema(self.schemas[kind]).items()
        )
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

    def _decode_one(self, value: bytes | None, *, logical: bool) -> tuple[Code, int, Any]:
        """Code, kind and row of one record; in place of the row, the reason where the code is not OK."""
        code, schema_id = read_header(value)
        if code is not Code.OK or value is None:
            return code, -1, _HEADER_REASONS[code]
        code, kind, writer, reason = self._writers.get(schema_id) or self._resolve(schema_id)
        if code is not Code.OK:
            return code, -1, reason
        body = BytesIO(value)
        body.seek(HEADER.size)
        reader = (self._parsed if logical else self._plain)[kind]
        try:
            row = fastavro.schemaless_reader(body, writer[logical], reader)
        except Exception as e:  # noqa: BLE001 - damaged bytes make fastavro raise almost anything
            return Code.UNDECODABLE, -1, f"{type(e).__name__} near byte {body.tell()}: {e}"
        if body.tell() != len(value):
            return Code.TRAILING_BYTES, -1, f"the record ends at byte {body.tell()} of {len(value)}"
        return Code.OK, kind, row

    def _resolve(self, schema_id: int) -> tuple[Code, int, Any, str]:
        """Find the writer's schema for an id; remembered, but for an id the registry does not know yet."""
        writer = self._registry.schema_of(schema_id)
        if writer is None:
            return Code.UNKNOWN_SCHEMA, -1, None, f"the registry knows no schema {schema_id}"
        if full_name(writer) not in self._names:
            reason = f"schema {schema_id} is a {full_name(writer)}; {self.topic} carries {', '.join(self._names)}"
            found: tuple[Code, int, Any, str] = (Code.WRONG_RECORD, -1, None, reason)
        else:
            kind = self._names.index(full_name(writer))
            parsed = (fastavro.parse_schema(_without_logical_types(writer)), fastavro.parse_schema(writer))
            found = (Code.OK, kind, parsed, "")
        self._writers[schema_id] = found
        return found


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
