"""Polars columns to cells: what :mod:`headrace.codec.arrow` does, the other way."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import polars as pl

from headrace.codec.batch import Bools
from headrace.codec.column import BytesColumn
from headrace.codec.encoder import Cells
from headrace.codec.numbers import DIGITS
from headrace.codec.tree import Layout, Node
from headrace.codec.types import polars_type_of


def fill_from_frame(cells: Cells, layout: Layout, frame: pl.DataFrame) -> None:
    """Cells of every field from the frame's columns, found by name.

    Raises:
        ValueError: a column holds a null where its field takes none; the message names field and row.
    """
    for f in layout.root.fields:
        _fill(cells, f.node, frame[f.name], None)


def _fill(cells: Cells, node: Node, column: pl.Series, wanted: Bools | None) -> None:
    """Cells of one node; ``wanted`` says which rows are looked at at all (None: all)."""
    if node.kind == "null":
        return
    target = polars_type_of(node)
    if column.dtype != target and node.logical != "decimal":
        column = column.cast(target)
    present = np.asarray(column.is_not_null().to_numpy(), dtype=np.bool_)
    if node.flag >= 0:
        cells.present(node, present)
    elif node.kind != "union":
        missing = ~present if wanted is None else ~present & wanted
        if missing.any():
            raise ValueError(f"field {node.path} is null in row {int(np.argmax(missing))}")
    match node.kind:
        case "record":
            for f in node.fields:
                _fill(cells, f.node, column.struct.field(f.name), present)
        case "union":
            for f in node.fields:
                _fill(cells, f.node, column.struct.field(f.name), present)
        case "array" | "map":
            _fill_list(cells, node, column)
        case "string":
            cells.strings(node, _texts(column))
        case "bytes" | "fixed":
            cells.strings(node, _octets(node, column))
        case "enum":
            codes = {s: i for i, s in enumerate(node.symbols)}
            index = column.replace_strict(codes, return_dtype=pl.Int64)
            cells.numbers(node, index.fill_null(0).to_numpy())
        case "boolean":
            cells.numbers(node, column.fill_null(False).to_numpy())
        case "float" | "double":
            cells.numbers(node, column.fill_null(0.0).to_numpy())
        case _:
            numbers = column.to_physical().cast(pl.Int64).fill_null(0).to_numpy()
            factor = {"time-millis": 1_000_000, "time-micros": 1_000}.get(node.logical, 1)
            cells.numbers(node, numbers // factor if factor > 1 else numbers)


def _fill_list(cells: Cells, node: Node, column: pl.Series) -> None:
    lengths = column.list.len().fill_null(0).cast(pl.Int64)
    # One length a row even where there is one row: a step of 0 would be the same, but its items' would not.
    cells.lengths(node, lengths.to_numpy())
    items = column.filter(lengths > 0).explode()
    if node.kind == "array":
        _fill(cells, node.fields[0].node, items, None)
    else:
        for f in node.fields:
            _fill(cells, f.node, items.struct.field(f.name), None)


def _texts(column: pl.Series) -> BytesColumn:
    lengths = column.str.len_bytes().fill_null(0).cast(pl.Int64).to_numpy()
    joined = (column.str.join("")[0] or "").encode() if len(column) else b""
    return _column(joined, lengths)


def _octets(node: Node, column: pl.Series) -> BytesColumn:
    empty = bytes(node.size)
    if node.logical == "decimal":
        return BytesColumn.of([empty if v is None else _unscaled(node, v) for v in column.to_list()])
    lengths = column.bin.size().cast(pl.Int64).fill_null(node.size).to_numpy()
    return _column(b"".join(empty if v is None else v for v in column.to_list()), lengths)


def _column(data: bytes, lengths: np.ndarray) -> BytesColumn:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return BytesColumn(np.frombuffer(data, dtype=np.uint8), offsets)


def _unscaled(node: Node, value: Decimal) -> bytes:
    """A decimal as big-endian two's complement: the fewest bytes, or as many as a fixed has."""
    whole = int(value.scaleb(node.scale, DIGITS))  # Python's own context would round to 28 digits
    size = node.size if node.kind == "fixed" else (whole if whole >= 0 else ~whole).bit_length() // 8 + 1
    return whole.to_bytes(size, "big", signed=True)
