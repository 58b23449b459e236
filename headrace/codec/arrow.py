"""Decoded cells as Polars columns, over Arrow's buffers: no Python object is made for a value."""

from __future__ import annotations

import nanoarrow as na
import numpy as np
import polars as pl

from headrace.codec.batch import Batch, Bools, Ints, gathered
from headrace.codec.column import BytesColumn, Octets, read_only
from headrace.codec.compiled import compiled
from headrace.codec.tree import Node

_LOGICAL = {
    "date": (na.date32(), np.int32, 1),
    "time-millis": (na.time64("ns"), np.int64, 1_000_000),
    "time-micros": (na.time64("ns"), np.int64, 1_000),
    "timestamp-millis": (na.timestamp("ms", "UTC"), np.int64, 1),
    "timestamp-micros": (na.timestamp("us", "UTC"), np.int64, 1),
    "local-timestamp-millis": (na.timestamp("ms"), np.int64, 1),
    "local-timestamp-micros": (na.timestamp("us"), np.int64, 1),
}


def series(batch: Batch, node: Node, name: str) -> pl.Series:
    """The values of a node as a Polars column, a row for each of its scope."""
    return pl.Series(_array(batch, node)).alias(name)


def binary(column: BytesColumn) -> pl.Series:
    """A column of byte strings as a Polars column."""
    return pl.Series(_made(na.large_binary(), len(column), [column.offsets, column.data], column.valid))


def _array(batch: Batch, node: Node) -> na.c_array.CArray:
    rows, present = batch.rows(node), batch.present(node)
    match node.kind:
        case "null":
            # Arrow's own null type does not survive the way into Polars.
            return _made(na.bool_(), rows, [np.zeros(rows // 8 + 1, dtype=np.uint8)], np.zeros(rows, dtype=np.bool_))
        case "record" | "union":
            children = [(f.name, _array(batch, f.node)) for f in node.fields]
            return _struct(rows, children, present)
        case "array" | "map":
            return _list(batch, node, rows, present)
        case "boolean":
            bits = np.packbits(batch.integers(node).astype(np.bool_), bitorder="little")
            return _made(na.bool_(), rows, [bits], present)
        case "enum":
            return _strings(_symbols(node, batch.integers(node)), present)
        case "string":
            return _strings(batch.strings(node), present)
        case "bytes" | "fixed" if node.logical == "decimal":
            wide = _decimals(batch.strings(node))
            return _made(na.decimal128(node.precision, node.scale), rows, [wide.reshape(-1)], present)
        case "bytes" | "fixed":
            column = batch.strings(node)
            return _made(na.large_binary(), rows, [column.offsets, column.data], present)
        case "float":
            return _made(na.float32(), rows, [batch.integers(node).astype(np.uint32).view(np.float32)], present)
        case "double":
            return _made(na.float64(), rows, [batch.integers(node).view(np.float64)], present)
    if node.logical:
        kind, dtype, factor = _LOGICAL[node.logical]
        return _made(kind, rows, [(batch.integers(node) * factor).astype(dtype)], present)
    if node.kind == "int":
        return _made(na.int32(), rows, [batch.integers(node).astype(np.int32)], present)
    return _made(na.int64(), rows, [batch.integers(node)], present)


def _made(
    kind: na.Schema,
    rows: int,
    buffers: list[np.ndarray],
    present: Bools | None,
    children: tuple[na.c_array.CArray, ...] = (),
) -> na.c_array.CArray:
    absent = 0 if present is None else rows - int(np.count_nonzero(present))
    bits = None if present is None or not absent else np.packbits(present, bitorder="little")
    return na.c_array_from_buffers(kind, rows, [bits, *buffers], null_count=absent, children=children)


def _strings(column: BytesColumn, present: Bools | None) -> na.c_array.CArray:
    return _made(na.large_string(), len(column), [column.offsets, column.data], present)


def _struct(rows: int, children: list[tuple[str, na.c_array.CArray]], present: Bools | None) -> na.c_array.CArray:
    kind = na.struct({name: na.Schema(child.schema) for name, child in children})
    return _made(kind, rows, [], present, tuple(child for _, child in children))


def _list(batch: Batch, node: Node, rows: int, present: Bools | None) -> na.c_array.CArray:
    if node.kind == "map":
        fields = [(f.name, _array(batch, f.node)) for f in node.fields]
        items = _struct(batch.rows(node.fields[0].node), fields, None)
    else:
        items = _array(batch, node.fields[0].node)
    offsets = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(batch.integers(node, 1), out=offsets[1:])
    return _made(na.large_list(na.Schema(items.schema)), rows, [offsets], present, (items,))


def _symbols(node: Node, index: Ints) -> BytesColumn:
    symbols = BytesColumn.of([s.encode() for s in node.symbols])
    lengths = np.diff(symbols.offsets)
    return gathered(symbols.data, symbols.offsets[:-1][index], lengths[index])


def _decimals(column: BytesColumn) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Big-endian two's complement of up to 16 bytes as pairs of 64 bits, the lower first."""
    out = np.zeros((len(column), 2), dtype=np.int64)
    if not _widen(read_only(column.data), read_only(column.offsets), out):
        raise OverflowError("a decimal of more than 16 bytes")
    return out


@compiled
def _widen(data: Octets, offsets: Ints, out: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> bool:
    for row in range(len(out)):
        begin, end = offsets[row], offsets[row + 1]
        low, high = np.int64(0), np.int64(0)
        if end > begin and data[begin] >= 0x80:
            low, high = np.int64(-1), np.int64(-1)
        for k in range(begin, end):
            high = (high << 8) | ((low >> 56) & 0xFF)
            low = (low << 8) | np.int64(data[k])
        if end - begin > 16:
            return False
        out[row, 0] = low
        out[row, 1] = high
    return True
