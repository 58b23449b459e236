"""Columns to Avro bodies of one schema, vectorised: sizes first, then each field written for all records at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from headrace.codec.plan import FieldPlan

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
Writer = Callable[[Bytes, Ints], None]
_NUMPY: dict[str, np.dtype[Any]] = {"float": np.dtype("<f4"), "double": np.dtype("<f8")}


def encode(fields: Sequence[FieldPlan], frame: pl.DataFrame, prefix: bytes) -> list[bytes] | None:
    """Each row as a record behind ``prefix``, or None where a column needs the slow way (arrays of many lengths).

    ``frame`` has the fields' columns, physical types, nulls only in optional ones.
    """
    sizes: list[Ints] = []
    writers: list[Writer] = []
    for field in fields:
        made = _column(field, frame[field.name])
        if made is None:
            return None
        sizes.append(made[0])
        writers.append(made[1])
    ends = np.cumsum(sum(sizes) + len(prefix))
    out = np.empty(int(ends[-1]), dtype=np.uint8)
    at = np.concatenate(([0], ends[:-1]))
    _scatter(out, at, np.tile(np.frombuffer(prefix, dtype=np.uint8), len(at)), np.full(len(at), len(prefix)))
    at = at + len(prefix)
    for size, write in zip(sizes, writers, strict=True):
        write(out, at)
        at = at + size
    data = out.tobytes()
    return [data[a:b] for a, b in itertools.pairwise([0, *ends.tolist()])]


def _column(field: FieldPlan, column: pl.Series) -> tuple[Ints, Writer] | None:
    """Bytes each row takes, and what writes them at given places."""
    if field.null_branch is None:
        if column.null_count():
            raise ValueError(f"field {field.name} is null in row {column.is_null().arg_true()[0]}")
        return _present(field, column)
    filled = np.flatnonzero(column.is_not_null().to_numpy())
    inner = _present(field, column.drop_nulls())
    if inner is None:
        return None
    sizes = np.ones(len(column), dtype=np.int64)
    sizes[filled] += inner[0]
    branch = np.full(len(column), 2 * field.null_branch, dtype=np.uint8)
    branch[filled] = 2 * (1 - field.null_branch)

    def write(out: Bytes, at: Ints) -> None:
        out[at] = branch
        inner[1](out, at[filled] + 1)

    return sizes, write


def _present(field: FieldPlan, column: pl.Series) -> tuple[Ints, Writer] | None:
    match field.kind:
        case "int" | "long":
            return _varint(column.cast(pl.Int64).to_numpy())
        case "boolean":
            return _raw(column.cast(pl.UInt8).to_numpy().reshape(-1, 1))
        case "float" | "double":
            return _raw(_octets(column.to_numpy(), field.kind))
        case "enum":
            codes = {s: i for i, s in enumerate(field.symbols)}
            return _varint(column.replace_strict(codes, return_dtype=pl.Int64).to_numpy())
        case "fixed":
            joined = np.frombuffer(b"".join(column.to_list()), dtype=np.uint8)
            return _raw(joined.reshape(len(column), field.size))
        case "array":
            return _array(field, column)
    return _variable(column)


def _varint(values: Ints) -> tuple[Ints, Writer]:
    """Zigzag, seven bits a byte, least first."""
    coded = (values.astype(np.int64) << 1 ^ values.astype(np.int64) >> 63).view(np.uint64)
    sizes = np.ones(len(coded), dtype=np.int64)
    for k in range(1, 10):
        longer = coded >= np.uint64(1) << np.uint64(7 * k)
        if not longer.any():
            break
        sizes += longer

    def write(out: Bytes, at: Ints) -> None:
        out[at] = (coded & np.uint64(0x7F)).astype(np.uint8) | np.where(sizes > 1, 0x80, 0).astype(np.uint8)
        for k in range(1, int(sizes.max(initial=1))):
            rows = np.flatnonzero(sizes > k)
            byte = (coded[rows] >> np.uint64(7 * k) & np.uint64(0x7F)).astype(np.uint8)
            out[at[rows] + k] = byte | np.where(sizes[rows] > k + 1, 0x80, 0).astype(np.uint8)

    return sizes, write


def _raw(octets: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> tuple[Ints, Writer]:
    """The same number of bytes for every row."""
    width = octets.shape[1]

    def write(out: Bytes, at: Ints) -> None:
        out[at[:, None] + np.arange(width)] = octets

    return np.full(len(octets), width, dtype=np.int64), write


def _variable(column: pl.Series) -> tuple[Ints, Writer]:
    """Text or bytes: length, then content."""
    values = column.cast(pl.Binary)
    lengths = values.bin.size().cast(pl.Int64).to_numpy()
    data = np.frombuffer(b"".join(values.to_list()), dtype=np.uint8)
    head, write_head = _varint(lengths)

    def write(out: Bytes, at: Ints) -> None:
        write_head(out, at)
        _scatter(out, at + head, data, lengths)

    return head + lengths, write


def _array(field: FieldPlan, column: pl.Series) -> tuple[Ints, Writer] | None:
    """Arrays of one length: a block count, the items, a zero."""
    lengths = column.list.len()
    length = int(lengths[0]) if len(column) else 0
    if not 0 < length < 64 or not (lengths == length).all():
        return None
    octets = _octets(column.explode().to_numpy(), field.item).reshape(len(column), -1)
    count = np.full((len(column), 1), 2 * length, dtype=np.uint8)
    return _raw(np.concatenate([count, octets, np.zeros_like(count)], axis=1))


def _octets(values: np.ndarray, kind: str) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    dtype = _NUMPY[kind]
    return np.ascontiguousarray(values, dtype=dtype).view(np.uint8).reshape(len(values), dtype.itemsize)


def _scatter(out: Bytes, at: Ints, data: Bytes, lengths: Ints) -> None:
    """Put consecutive pieces of ``data``, of the given lengths, at the given places."""
    begins = np.cumsum(lengths) - lengths
    out[np.repeat(at - begins, lengths) + np.arange(len(data))] = data
