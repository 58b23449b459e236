"""Avro object container files.

A file of the very schema of the events is decoded block by block, as a topic's records are. Another schema's values
are read by its own types, logical ones included, and then held to the events' like any other value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

import fastavro
import numpy as np

from headrace.codec import arrow
from headrace.codec.batch import Batch as Cells
from headrace.codec.column import BytesColumn
from headrace.codec.decoder import compile_decoder
from headrace.codec.lanes import MISSING, Lane
from headrace.codec.scalars import whole
from headrace.codec.tree import Field, Layout, Node, parse
from headrace.errors import ConfigError, SchemaError
from headrace.producers.files.batch import BATCH, Batch, Damaged, Options
from headrace.producers.files.columns import check_names

_CANNOT_READ = (ValueError, EOFError, OSError, KeyError, IndexError, TypeError, OverflowError, RecursionError)
UNREAD = ("timestamp-nanos", "local-timestamp-nanos")
"""Logical types whose values would come as bare numbers, of whatever unit."""


class WrittenRows:
    """Rows that were decoded from the very schema of the events."""

    def __init__(self, cells: Cells, item: Node) -> None:
        self._cells = cells
        self._fields = {f.name: f.node for f in item.fields}
        self.height = cells.rows(item)
        self.names = frozenset(self._fields)

    def lacks(self, f: Field) -> bool:
        return False

    def lane(self, f: Field) -> Lane:
        return Lane(arrow.series(self._cells, self._fields[f.name], f.name), None)

    def values(self, f: Field) -> list[Any]:
        return arrow.series(self._cells, self._fields[f.name], f.name).to_list()

    def row(self, index: int) -> Any:
        return {name: arrow.series(self._cells, node, name)[index] for name, node in self._fields.items()}

    def text(self, index: int) -> bytes:
        return json.dumps(self.row(index), default=str, ensure_ascii=False).encode()


class ObjectRows:
    """Rows as Python has them."""

    def __init__(self, objects: list[Any]) -> None:
        self._objects = objects
        self.height = len(objects)
        self.names = frozenset(name for row in objects for name in row)

    def lacks(self, f: Field) -> bool:
        return f.name not in self.names

    def lane(self, f: Field) -> None:
        return None

    def values(self, f: Field) -> list[Any]:
        return [row.get(f.name, MISSING) for row in self._objects]

    def row(self, index: int) -> Any:
        return self._objects[index]

    def text(self, index: int) -> bytes:
        return json.dumps(self._objects[index], default=str, ensure_ascii=False).encode()


def read_avro(file: IO[bytes], options: Options, fields: Sequence[Field], schema: dict[str, Any]) -> Iterator[Batch]:
    """The records of an Avro file.

    Raises:
        ConfigError: it is no such file, its codec cannot be read, or its schema lacks a field that every row must have.
    """
    try:
        reader = fastavro.block_reader(file)
        written = json.loads(reader.metadata["avro.schema"])
    except _CANNOT_READ as e:
        raise ConfigError(f"not an Avro file: {e}") from None
    if not isinstance(written, dict) or "fields" not in written:
        raise ConfigError("the file holds no records; its schema is no record")
    check_names([f["name"] for f in written["fields"]], fields)
    decode = _decoder(written, schema)
    done = 0
    try:
        for blocks in _grouped(_blocks(reader, file)):
            for rows in _rows(blocks, decode):
                numbers = range(done + 1, done + rows.height + 1)
                done += rows.height
                yield Batch(rows, numbers, [], done)
    except _CANNOT_READ as e:
        if str(e).startswith("Unrecognized codec") or "is supported but" in str(e):
            raise ConfigError(str(e)) from None
        raise Damaged(f"the file is damaged after row {done:,}: {e or type(e).__name__}") from None


def _blocks(reader: Any, file: IO[bytes]) -> Iterator[Any]:
    expected = file.tell()
    for block in reader:
        expected = block.offset + block.size
        yield block
    if file.tell() != expected:
        raise EOFError("it ends inside a block")


def _grouped(blocks: Iterator[Any]) -> Iterator[list[Any]]:
    """Blocks of about a batch together; what was read before damage is given before the error is."""
    group: list[Any] = []
    try:
        for block in blocks:
            group.append(block)
            if sum(b.num_records for b in group) >= BATCH:
                yield group
                group = []
    except _CANNOT_READ:
        if group:
            yield group
        raise
    if group:
        yield group


def _rows(blocks: list[Any], decode: Any) -> Iterator[WrittenRows | ObjectRows]:
    if decode is not None and (rows := decode(blocks)) is not None:
        yield rows
        return
    for block in blocks:
        block.bytes_.seek(0)
        objects = []
        try:
            objects.extend(iter(block))
        except _CANNOT_READ:
            yield ObjectRows(objects)
            raise
        yield ObjectRows(objects)


def _decoder(written: Any, schema: dict[str, Any]) -> Any:
    """What decodes blocks of the events' own schema; None: the file has another.

    The records of blocks are the items of one Avro array.
    """
    try:
        own, given = parse(schema), parse(written)
    except SchemaError as e:
        raise ConfigError(f"the file's schema cannot be read: {e}") from None
    if not _same(own, given):
        _refuse_unread(written)
        return None
    many = {"type": "record", "name": "Rows", "fields": [{"name": "rows", "type": {"type": "array", "items": schema}}]}
    layout = Layout.of(many)
    program = compile_decoder(many, layout)
    item = layout.root.fields[0].node.fields[0].node
    first = np.zeros(1, dtype=np.int64)

    def decode(blocks: list[Any]) -> WrittenRows | None:
        parts = [part for b in blocks if b.num_records for part in (whole(b.num_records), b.bytes_.getvalue())]
        cells = Cells(program, layout, BytesColumn.of([b"".join([*parts, b"\0"])]), first, 0)
        return None if cells.errors[0] else WrittenRows(cells, item)

    return decode


def _same(one: Node, other: Node) -> bool:
    """Whether values of two types are written in the same way and mean the same."""
    return (
        (one.kind, one.logical, one.symbols, one.size, one.precision, one.scale)
        == (other.kind, other.logical, other.symbols, other.size, other.precision, other.scale)
        and (one.null_branch, one.branch, one.branches) == (other.null_branch, other.branch, other.branches)
        and [f.name for f in one.fields] == [f.name for f in other.fields]
        and all(_same(a.node, b.node) for a, b in zip(one.fields, other.fields, strict=True))
    )


def _refuse_unread(schema: Any) -> None:
    """Refuse a schema with a logical type that is not read.

    Raises:
        ConfigError: so it is.
    """
    if isinstance(schema, list):
        for one in schema:
            _refuse_unread(one)
    elif isinstance(schema, dict):
        if schema.get("logicalType") in UNREAD:
            raise ConfigError(f"the file's schema has a {schema['logicalType']}, which is not read")
        for part in ("type", "items", "values", "fields"):
            if isinstance(schema.get(part), list | dict):
                _refuse_unread(schema[part])
