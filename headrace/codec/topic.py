"""The records of one topic: bytes in, columns and a code per record out; columns in, bytes out.

This is the interface the platform codes against. A writer's schema is compiled with the reader's once, and whole
batches run through the compiled program: added fields take their defaults, removed ones are stepped over, fields
may be reordered, renamed by alias, and promoted. Control records, which are few and nested, are checked by
the same program and then read by fastavro.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
import numpy as np
import polars as pl
from pydantic import ValidationError

from headrace.codec import arrow, ops
from headrace.codec.batch import Batch, Matrix
from headrace.codec.column import BytesColumn
from headrace.codec.decoder import Program, compile_decoder
from headrace.codec.encoder import Cells, ColumnValues, compile_encoder, fill
from headrace.codec.frame import fill_from_frame
from headrace.codec.headers import BY_GUID, read_headers
from headrace.codec.tree import Layout, Node
from headrace.codec.types import polars_schema
from headrace.codec.wire import GUID_HEADER, HEADER, Code, header, schema_of
from headrace.errors import SchemaError
from headrace.schema.own import full_name, is_own
from headrace.schema.records import CONTROL_RECORDS, Record
from headrace.schema.registry import Registry, subject_of

Schema = dict[str, Any]
Codes = np.ndarray[tuple[int], np.dtype[np.int8]]
Places = np.ndarray[tuple[int], np.dtype[np.int64]]
Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]


class _Part(NamedTuple):
    """Records of one writer's schema: their places, those that are sound, and their values."""

    places: Places
    sound: Places
    batch: Batch


class Decoded:
    """The result of decoding a batch of n records.

    Attributes:
        codes: int8 (n,), a :class:`Code` for each record.
        kinds: int8 (n,), index of the record's type in the topic's record types; -1 where it failed.
        error_at: int32 (n,), byte at which a record failed; -1 where it did not, or failed as a whole.
    """

    def __init__(self, count: int, layouts: Sequence[Layout], schemas: Sequence[Schema]) -> None:
        self.codes: Codes = np.zeros(count, dtype=np.int8)
        self.kinds: Codes = np.full(count, -1, dtype=np.int8)
        self.error_at = np.full(count, -1, dtype=np.int32)
        self.reasons: dict[int, str] = {}
        """Place in the batch -> what is wrong, in words, for the records that failed."""
        self._layouts = layouts
        self._schemas = schemas
        self._parts: dict[int, list[_Part]] = {}

    def places(self, kind: int = 0) -> Places:
        """Places in the batch of the records of type ``kind``, rising."""
        parts = self._parts.get(kind, [])
        if len(parts) == 1:
            return parts[0].sound
        return np.flatnonzero(self.kinds == kind)

    def frame(self, kind: int = 0, names: Sequence[str] | None = None) -> pl.DataFrame:
        """The records of type ``kind`` as columns, one row each, in the order of :meth:`places`.

        ``names``: these columns alone, in this order.
        """
        fields = {f.name: f for f in self._layouts[kind].root.fields}
        wanted = [fields[name] for name in (fields if names is None else names)]
        frames = [pl.DataFrame([arrow.series(p.batch, f.node, f.name) for f in wanted]) for p in self._sound(kind)]
        if not frames:
            schema = polars_schema(self._schemas[kind])
            return pl.DataFrame(schema={f.name: schema[f.name] for f in wanted})
        return frames[0] if len(frames) == 1 else pl.concat(frames)[self._order(kind)]

    def matrix(self, names: Sequence[str], kind: int = 0) -> Matrix:
        """Numeric fields of the records of type ``kind`` as float32 (m, len(names)), in the order of :meth:`places`.

        An absent value is NaN.
        """
        nodes = [self._node(name, kind) for name in names]
        found = [p.batch.matrix(nodes) for p in self._sound(kind)]
        if len(found) == 1:
            return found[0]
        return np.concatenate(found)[self._order(kind)] if found else np.zeros((0, len(names)), dtype=np.float32)

    def strings(self, name: str, kind: int = 0) -> BytesColumn:
        """A string or bytes field of the records of type ``kind``, m strings in the order of :meth:`places`."""
        found = [p.batch.strings(self._node(name, kind)) for p in self._sound(kind)]
        return found[0] if len(found) == 1 else BytesColumn.concat(found)[self._order(kind)]

    def integers(self, name: str, kind: int = 0) -> Numbers:
        """An integer field (or time, as it is stored) of the records of type ``kind``, int64 (m,)."""
        found = [p.batch.integers(self._node(name, kind)) for p in self._sound(kind)]
        return found[0] if len(found) == 1 else np.concatenate([np.zeros(0, np.int64), *found])[self._order(kind)]

    def _refuse(self, places: Places, code: Code, reason: str) -> None:
        self.codes[places] = code
        self.reasons |= dict.fromkeys(places.tolist(), reason)

    def _take(self, kind: int, places: Places, batch: Batch, values: BytesColumn) -> None:
        errors = batch.errors
        self.kinds[places] = kind
        sound = places
        if errors.any():
            wrong = np.flatnonzero(errors)
            sound = places[errors == 0]
            failed = places[wrong]
            self.codes[failed] = np.where(errors[wrong] == ops.TRAILING, Code.TRAILING_BYTES, Code.UNDECODABLE)
            self.kinds[failed] = -1
            self.error_at[failed] = batch.error_at[wrong]
            lengths = values.offsets[failed + 1] - values.offsets[failed]
            self.reasons.update(zip(failed.tolist(), batch.reasons(wrong, lengths), strict=True))
        self._parts.setdefault(kind, []).append(_Part(places, sound, batch))

    def _sound(self, kind: int) -> list[_Part]:
        return self._parts.get(kind, [])

    def _order(self, kind: int) -> Places:
        return np.argsort(np.concatenate([np.zeros(0, np.int64), *(p.sound for p in self._sound(kind))]), kind="stable")

    def _node(self, name: str, kind: int) -> Node:
        return next(f.node for f in self._layouts[kind].root.fields if f.name == name)


@dataclass(frozen=True)
class _Writer:
    """What is known of a schema id: whether its records are this topic's, and how they are read."""

    code: Code
    kind: int = -1
    program: Program | None = None
    schema: Any = None
    reason: str = ""

    @cached_property
    def parsed(self) -> Any:
        """The writer's schema as fastavro takes it."""
        return fastavro.parse_schema(copy.deepcopy(self.schema))


class TopicCodec:
    """Encodes and decodes the records of one topic.

    Args:
        topic: full topic name, part of the registry's subject.
        schemas: schema of each record type the topic carries; their order numbers the kinds.
        registry: where schema ids come from. Its outage surfaces as Unavailable from either method.
        formerly: schemas of record types that are read and no longer written; numbered after the others.

    Raises:
        SchemaError: a schema is no record, or holds itself.
    """

    def __init__(
        self, topic: str, schemas: Sequence[Schema], registry: Registry, formerly: Sequence[Schema] = ()
    ) -> None:
        self.topic = topic
        self.schemas = [*schemas, *formerly]
        self._registry = registry
        self._written = len(schemas)
        self._names = [full_name(s) for s in self.schemas]
        self._layouts = [Layout.of(s) for s in self.schemas]
        self._encoders = [compile_encoder(layout) for layout in self._layouts]
        self._writers: dict[int | str, _Writer] = {}
        self._ids: dict[int, int] = {}

    @cached_property
    def _parsed(self) -> list[Any]:
        return [fastavro.parse_schema(copy.deepcopy(s)) for s in self.schemas]

    def prepare(self) -> None:
        """Look up the ids this codec writes with, and have the kernels compiled or loaded.

        Later calls of :meth:`encode` need no registry, and the first batch takes no longer than the second.
        """
        for kind, layout in enumerate(self._layouts[: self._written]):
            prefix = header(self._own_id(kind))
            Cells(layout, 0).records(self._encoders[kind], prefix)
            nothing, nowhere = BytesColumn.of([prefix]), np.zeros(0, dtype=np.int64)
            Batch(compile_decoder(self.schemas[kind], layout), layout, nothing, nowhere, HEADER.size)
            read_headers(nothing)
            nothing[nowhere].to_list()

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode ``values``; a record that cannot be decoded gets a code and a reason, and no row."""
        column = BytesColumn.of(values)
        decoded = Decoded(len(column), self._layouts, self.schemas)
        codes, ids = read_headers(column)
        for code in (Code.NULL_VALUE, Code.TOO_SHORT, Code.WRONG_MAGIC):
            if (places := np.flatnonzero(codes == code)).size:
                decoded._refuse(places, code, _HEADER_REASONS[code])
        fine = np.flatnonzero(codes == Code.OK)
        for schema_id in _distinct(ids[fine]):
            self._decode_as(schema_id, fine[ids[fine] == schema_id], HEADER.size, column, decoded)
        if len(fine) < len(column) and (guided := np.flatnonzero(codes == BY_GUID)).size:
            names = np.array([(schema_of(v or b"") or ("", 0))[0] for v in column[guided]])
            for guid in np.unique(names).tolist():
                self._decode_as(guid, guided[names == guid], GUID_HEADER, column, decoded)
        return decoded

    def _decode_as(
        self, schema_id: int | str, places: Places, header_size: int, column: BytesColumn, decoded: Decoded
    ) -> None:
        """Decode the records at ``places``, which are all of one writer's schema."""
        writer = self._writer(schema_id)
        if writer.program is None:
            decoded._refuse(places, writer.code, writer.reason)
            return
        batch = Batch(writer.program, self._layouts[writer.kind], column, places, header_size)
        decoded._take(writer.kind, places, batch, column)

    def decode_control(self, value: bytes | None) -> Record:
        """Decode one control record.

        Raises:
            SchemaError: the bytes are no valid record of this topic; the message says why.
        """
        [found] = self.decode_controls([value])
        if isinstance(found, SchemaError):
            raise found
        return found

    def decode_controls(self, values: Sequence[bytes | None]) -> Iterator[Record | SchemaError]:
        """Decode control records; in the place of one that is damaged stands the error that says why."""
        decoded = self.decode(values)
        for place, value in enumerate(values):
            framed = schema_of(value or b"")
            if (reason := decoded.reasons.get(place)) is not None or value is None or framed is None:
                yield SchemaError(f"{self.topic}: {Code(decoded.codes[place]).label}: {reason}")
                continue
            writer = self._writer(framed[0])
            body = BytesIO(value)
            body.seek(framed[1])
            row = fastavro.schemaless_reader(body, writer.parsed, self._parsed[writer.kind])
            try:
                yield CONTROL_RECORDS[self.schemas[writer.kind]["name"]].model_validate(row)
            except ValidationError as e:
                yield SchemaError(f"{self.topic}: {self._names[writer.kind]}: {e.errors()[0]['msg']}")

    def encode(self, frame: pl.DataFrame, kind: int = 0) -> BytesColumn:
        """Encode each row of ``frame`` as a record of type ``kind``; columns are found by name.

        Raises:
            ValueError: a null where the schema takes none; the message names the field and the row.
        """
        if frame.is_empty():
            return BytesColumn.nulls(0)
        cells = Cells(self._layouts[kind], frame.height)
        fill_from_frame(cells, self._layouts[kind], frame)
        return cells.records(self._encoders[kind], header(self._own_id(kind)))

    def encode_columns(self, count: int, columns: Mapping[str, ColumnValues], kind: int = 0) -> BytesColumn:
        """Encode ``count`` records of type ``kind`` whose fields come as arrays, or as one value for all.

        Raises:
            SchemaError: a field is missing or of another type.
        """
        cells = Cells(self._layouts[kind], count)
        fill(cells, self._layouts[kind], columns)
        return cells.records(self._encoders[kind], header(self._own_id(kind)))

    def encode_control(self, record: Record) -> bytes:
        """Encode one control record."""
        kind = next(k for k, s in enumerate(self.schemas) if s["name"] == type(record).__name__)
        out = BytesIO()
        out.write(header(self._own_id(kind)))
        fastavro.schemaless_writer(out, self._parsed[kind], record.model_dump())
        return out.getvalue()

    def header(self, kind: int = 0) -> bytes:
        """The five bytes before the Avro body of a record of type ``kind``."""
        return header(self._own_id(kind))

    def _own_id(self, kind: int) -> int:
        if kind not in self._ids:
            subject = subject_of(self.topic, self.schemas[kind])
            self._ids[kind] = self._registry.schema_id(subject, self.schemas[kind])
        return self._ids[kind]

    def _writer(self, schema_id: int | str) -> _Writer:
        """What is known of a schema id; remembered, but for one the registry does not know yet."""
        if schema_id in self._writers:
            return self._writers[schema_id]
        try:
            schema = self._registry.schema_of(schema_id)
        except SchemaError as e:
            return _Writer(Code.WRONG_RECORD, reason=f"schema {schema_id} cannot be read: {e}")
        if schema is None:
            if isinstance(schema_id, str):  # any bytes after a 1 look like a GUID
                return _Writer(Code.WRONG_MAGIC, reason=f"the first byte is 1, and no schema has the GUID {schema_id}")
            return _Writer(Code.UNKNOWN_SCHEMA, reason=f"the registry knows no schema {schema_id}")
        self._writers[schema_id] = found = self._found(schema_id, schema)
        return found

    def _found(self, schema_id: int | str, schema: Any) -> _Writer:
        name = full_name(schema) if isinstance(schema, dict) and "name" in schema else str(schema)
        kind = self._kind_of(name)
        if kind is None:
            reason = f"schema {schema_id} is a {name}; {self.topic} carries {', '.join(self._names)}"
            return _Writer(Code.WRONG_RECORD, reason=reason)
        try:
            program = compile_decoder(schema, self._layouts[kind])
        except SchemaError as e:
            reason = f"schema {schema_id} cannot be read as this {self._names[kind]}: {e}"
            return _Writer(Code.WRONG_RECORD, reason=reason)
        return _Writer(Code.OK, kind, program, schema)

    def _kind_of(self, name: str) -> int | None:
        """The record type that a writer's record of this full name is: by name, by alias, or by its name without the
        namespace (Avro specification, Schema Resolution), if that is one alone.

        Records of headrace itself go by their full names: a user's own ``Metric`` is none of them.
        """
        roots = [layout.root for layout in self._layouts]
        short = name.rpartition(".")[2]
        for fits in (
            [root.name == name for root in roots],
            [name in root.aliases for root in roots],
            [not is_own(root.name) and short in _short_names(root) for root in roots],
        ):
            if fits.count(True) == 1:
                return fits.index(True)
        return None


def _short_names(root: Node) -> list[str]:
    """The name and the aliases of a record without their namespaces."""
    return [name.rpartition(".")[2] for name in (root.name, *root.aliases)]


def _distinct(ids: Numbers) -> list[int]:
    """The different ids, mostly one."""
    if len(ids) == 0:
        return []
    return [int(ids[0])] if (ids == ids[0]).all() else np.unique(ids).tolist()


_HEADER_REASONS = {
    Code.NULL_VALUE: "the value is null",
    Code.TOO_SHORT: "the value is shorter than a header and a body",
    Code.WRONG_MAGIC: "the first byte is not 0, and no schema id came in a header: this is not Confluent wire format",
}
