"""Avro bodies of one schema to columns, vectorised: each field is read for all records at once.

Every read is checked against its record's end before its value counts. A record that breaks a rule is marked
with the field and byte where it did, and its other values mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from headrace.codec.plan import FieldPlan
from headrace.codec.wire import HEADER, Code

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]
_SLACK = 16
_NUMPY: dict[str, np.dtype[Any]] = {"float": np.dtype("<f4"), "double": np.dtype("<f8")}


@dataclass(frozen=True)
class Failure:
    """Why a record was refused."""

    code: Code
    reason: str


class BatchReader:
    """Reads n records laid end to end.

    Args:
        values: whole records, header and body, all of one writer's schema.
    """

    def __init__(self, values: Sequence[bytes]) -> None:
        lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
        self._joined = b"".join(values)
        self._bytes = np.frombuffer(self._joined + bytes(_SLACK), dtype=np.uint8)
        self._last = len(self._bytes) - 1
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths
        self.at = self._starts + HEADER.size
        self.bad = np.zeros(len(values), dtype=bool)
        self.slow = np.zeros(len(values), dtype=bool)
        self.failures: dict[int, Failure] = {}

    def read(self, field: FieldPlan) -> pl.Series:
        """The next field of every record, as a column; marked records hold anything."""
        if field.null_branch is None:
            return self._values(field, None)
        rows = np.flatnonzero(self._branches(field))
        present = self._values(field, rows)
        if len(rows) == len(self.at):
            return present
        found = np.full(len(self.at), -1, dtype=np.int64)
        found[rows] = np.arange(len(rows))
        index = pl.Series(found, dtype=pl.Int64).replace(-1, None)
        return present.gather(index) if len(rows) else pl.repeat(None, len(self.at), dtype=present.dtype, eager=True)

    def finish(self) -> None:
        """Mark the records that do not end where their bytes do."""
        for row in np.flatnonzero((self.at != self._ends) & ~self.bad & ~self.slow).tolist():
            at, length = int(self.at[row] - self._starts[row]), int(self._ends[row] - self._starts[row])
            self.bad[row] = True
            self.failures[row] = Failure(Code.TRAILING_BYTES, f"the record ends at byte {at} of {length}")

    def _values(self, field: FieldPlan, rows: Ints | None) -> pl.Series:
        match field.kind:
            case "long":
                return pl.Series(field.name, self._varints(field, rows))
            case "int":
                values = self._varints(field, rows)
                self._refuse((values != values.astype(np.int32)), rows, field, "is no 32-bit integer")
                return pl.Series(field.name, values.astype(np.int32))
            case "boolean":
                raw = self._fixed_width(field, rows, 1)[:, 0]
                self._refuse(raw > 1, rows, field, "is neither true nor false")
                return pl.Series(field.name, raw == 1)
            case "float" | "double":
                dtype = _NUMPY[field.kind]
                raw = self._fixed_width(field, rows, dtype.itemsize)
                return pl.Series(field.name, raw.view(dtype)[:, 0])
            case "enum":
                index = self._varints(field, rows)
                wrong = (index < 0) | (index >= len(field.symbols))
                self._refuse(wrong, rows, field, "is no symbol of its enum")
                symbols = pl.Series(field.name, list(field.symbols), dtype=pl.String)
                return symbols.gather(pl.Series(np.where(wrong, 0, index)))
            case "fixed":
                starts = self._advance(field, rows, np.full(self._count(rows), field.size, dtype=np.int64))
                return self._slices(field, rows, starts, field.size)
            case "array":
                return self._arrays(field)
        lengths = self._varints(field, rows)
        starts = self._advance(field, rows, lengths)
        return self._slices(field, rows, starts, lengths)

    def _branches(self, field: FieldPlan) -> Bools:
        """Which records hold a value in an optional field."""
        branch = self._varints(field, None)
        self._refuse((branch < 0) | (branch > 1), None, field, "names a branch its union does not have")
        held: Bools = (branch == 1 - (field.null_branch or 0)) & ~self.bad
        return held

    def _varints(self, field: FieldPlan, rows: Ints | None) -> Ints:
        """Zigzag variable-length integers."""
        at = self.at.copy() if rows is None else self.at[rows]
        first = self._bytes[np.minimum(at, self._last)]
        value = (first & 0x7F).astype(np.uint64)
        at += 1
        more = np.flatnonzero(first >= 0x80)
        for shift in range(7, 70, 7):
            if not len(more):
                break
            byte = self._bytes[np.minimum(at[more], self._last)]
            value[more] |= (byte & 0x7F).astype(np.uint64) << np.uint64(shift)
            at[more] += 1
            more = more[byte >= 0x80]
        overlong = np.zeros(len(at), dtype=bool)
        overlong[more] = True
        self._refuse(overlong, rows, field, "is a number of more than ten bytes")
        self._move(at, rows, field)
        numbers: Ints = (value >> np.uint64(1)).astype(np.int64) ^ -(value & np.uint64(1)).astype(np.int64)
        return numbers

    def _fixed_width(
        self, field: FieldPlan, rows: Ints | None, width: int
    ) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        starts = self._advance(field, rows, np.full(self._count(rows), width, dtype=np.int64))
        octets: np.ndarray[tuple[int, int], np.dtype[np.uint8]] = self._bytes[starts[:, None] + np.arange(width)]
        return octets

    def _slices(self, field: FieldPlan, rows: Ints | None, starts: Ints, lengths: Ints | int) -> pl.Series:
        ends = (starts + lengths).tolist()
        data = self._joined
        found = [data[a:b] for a, b in zip(starts.tolist(), ends, strict=True)]
        column = pl.Series(field.name, found, dtype=pl.Binary)
        if field.kind != "string":
            return column
        try:
            return column.cast(pl.String)
        except pl.exceptions.ComputeError:
            texts = [_text(value) for value in found]
            self._refuse(np.array([text is None for text in texts]), rows, field, "is no UTF-8")
            return pl.Series(field.name, texts, dtype=pl.String)

    def _arrays(self, field: FieldPlan) -> pl.Series:
        """Arrays of floating-point numbers; records whose arrays differ in length go the slow way."""
        counts = self._varints(field, None)
        usual = int(np.median(counts[~self.bad])) if (~self.bad).any() else 0
        usual = max(usual, 0)
        self.slow |= (counts != usual) & ~self.bad
        dtype = _NUMPY[field.item]
        room = len(self._joined)
        if usual * dtype.itemsize > room:
            self.slow |= ~self.bad
            usual = 0
        starts = self._advance(field, None, np.full(len(self.at), usual * dtype.itemsize, dtype=np.int64))
        items = self._bytes[starts[:, None] + np.arange(usual * dtype.itemsize)].view(dtype)
        if usual:
            self.slow |= (self._varints(field, None) != 0) & ~self.bad
        inner = pl.Float32 if field.item == "float" else pl.Float64
        if not usual:
            return pl.Series(field.name, [[]] * len(self.at), dtype=pl.List(inner))
        return pl.Series(field.name, items, dtype=pl.Array(inner, usual)).arr.to_list()

    def _advance(self, field: FieldPlan, rows: Ints | None, lengths: Ints) -> Ints:
        """Step over ``lengths`` bytes; gives where they begin, a safe place for records without room for them."""
        at = self.at if rows is None else self.at[rows]
        left = (self._ends if rows is None else self._ends[rows]) - at
        wrong = (lengths < 0) | (lengths > left)
        self._refuse(wrong, rows, field, "is longer than what is left of the record")
        starts = np.where(wrong, 0, at)
        lengths[wrong] = 0
        self._move(at + lengths, rows, field)
        return np.minimum(starts, max(len(self._joined) - 1, 0)) if wrong.any() else starts

    def _move(self, at: Ints, rows: Ints | None, field: FieldPlan) -> None:
        over = at > (self._ends if rows is None else self._ends[rows])
        self._refuse(over, rows, field, "is cut off by the end of the record")
        lost = self.bad | self.slow
        if rows is None:
            self.at = np.where(lost, self._starts, at)
        else:
            self.at[rows] = np.where(lost[rows], self._starts[rows], at)

    def _refuse(self, wrong: Bools, rows: Ints | None, field: FieldPlan, how: str) -> None:
        for place in np.flatnonzero(wrong).tolist():
            row = place if rows is None else int(rows[place])
            if not (self.bad[row] or self.slow[row]):
                self.bad[row] = True
                at = int(self.at[row] - self._starts[row])
                self.failures[row] = Failure(Code.UNDECODABLE, f"field {field.name} at byte {at} {how}")

    def _count(self, rows: Ints | None) -> int:
        return len(self.at) if rows is None else len(rows)


def decode(fields: Sequence[FieldPlan], values: Sequence[bytes]) -> tuple[pl.DataFrame, BatchReader]:
    """Columns of every record, and the reader, which knows the records that failed or must go the slow way.

    The frame has a row for each record; rows of failed and slow ones hold anything.
    """
    reader = BatchReader(values)
    columns = [reader.read(field).alias(field.name) for field in fields]
    reader.finish()
    return pl.DataFrame(columns), reader


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
