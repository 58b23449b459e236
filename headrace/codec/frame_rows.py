"""Rows of a frame of any types, as the encoder of rows takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from headrace.codec.lanes import Lane, lane_of_column
from headrace.codec.misfit import Misfit
from headrace.codec.moments import DEFAULT, Clock
from headrace.codec.times import FIRST_DAY, LAST_DAY
from headrace.codec.tree import Field

OUTSIDE = "has a time outside of the years 1 to 9999"
ROUNDED = "has a time with parts of a microsecond inside a nested value"
REFUSED = object()
"""Stands for a value that Python does not hold; no type takes it."""
_DAY_S = 86_400
_PER_DAY = {"ns": _DAY_S * 10**9, "us": _DAY_S * 10**6, "ms": _DAY_S * 10**3}
_NANOS = "%Y-%m-%dT%H:%M:%S%.9f"


class FrameRows:
    """Rows of a frame.

    Args:
        frame: the rows.
        fields: of the schema; other columns are passed over.
        clock: how times are read.
    """

    def __init__(self, frame: pl.DataFrame, fields: Sequence[Field], clock: Clock = DEFAULT) -> None:
        self._frame = frame
        self._taken = [f.name for f in fields if f.name in frame.columns]
        self._clock = clock
        self.names = frozenset(frame.columns)
        self._exact: pl.DataFrame | None = None
        self._refused: dict[int, str] = {}

    @property
    def height(self) -> int:
        return self._frame.height

    def lacks(self, f: Field) -> bool:
        return f.name not in self._frame.columns

    def lane(self, f: Field) -> Lane | None:
        column = self._frame[f.name]
        if column.dtype == pl.Null:
            column = column.cast(pl.String)
        return lane_of_column(f.node, column, self._clock)

    def values(self, f: Field) -> list[Any]:
        try:
            found = self._held()[f.name].to_list()
        except (OverflowError, ValueError, pl.exceptions.PanicException):
            return [REFUSED] * self.height
        for index in self._refused:
            found[index] = REFUSED
        return found

    def row(self, index: int) -> dict[str, Any]:
        exact = self._held()
        if index in self._refused:
            raise Misfit(self._refused[index])
        try:
            return exact.row(index, named=True)
        except (OverflowError, ValueError, pl.exceptions.PanicException):
            raise Misfit(OUTSIDE) from None

    def _held(self) -> pl.DataFrame:
        """The frame as Python holds its values."""
        if self._exact is None:
            self._exact, self._refused = _exact(self._frame.select(self._taken))
        return self._exact

    def text(self, index: int) -> bytes:
        try:
            return self._frame.slice(index, 1).write_ndjson().encode()
        except (OverflowError, ValueError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return b""  # a value that no text is known for


def _exact(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[int, str]]:
    """A frame whose values Python holds, and the rows with others: its times have six digits, its years four."""
    columns = []
    refused: dict[int, str] = {}
    for column in frame:
        dtype = column.dtype
        if isinstance(dtype, pl.Date | pl.Datetime):
            day = _PER_DAY[dtype.time_unit] if isinstance(dtype, pl.Datetime) else 1
            since = column.to_physical()
            outside = (since < FIRST_DAY * day) | (since >= (LAST_DAY + 1) * day) if day < _PER_DAY["ns"] else None
            if outside is not None and outside.any():
                refused |= dict.fromkeys(outside.arg_true().to_list(), OUTSIDE)
                column = column.set(outside, None)
        if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
            if not (column.to_physical() % 1000 == 0).fill_null(True).all():
                utc = column.dt.convert_time_zone("UTC") if dtype.time_zone else column
                column = utc.dt.to_string(f"{_NANOS}{'Z' if dtype.time_zone else ''}")
        elif dtype == pl.Time:
            if not (column.to_physical() % 1000 == 0).fill_null(True).all():
                column = column.dt.to_string("%H:%M:%S%.9f")
        elif dtype.is_nested() and (short := _micros(dtype)) != dtype:
            back = column.cast(short)
            refused |= dict.fromkeys(back.cast(dtype).ne_missing(column).arg_true().to_list(), ROUNDED)
            column = back
        columns.append(column)
    return pl.DataFrame(columns), refused


def _micros(dtype: pl.DataType) -> pl.DataType:
    """A nested type with its nanoseconds as microseconds."""
    if isinstance(dtype, pl.List):
        return pl.List(_micros(dtype.inner))  # type: ignore[arg-type]
    if isinstance(dtype, pl.Array):
        return pl.List(_micros(dtype.inner))  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return pl.Struct({f.name: _micros(f.dtype) for f in dtype.fields})  # type: ignore[arg-type]
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        return pl.Datetime("us", dtype.time_zone)
    return dtype
