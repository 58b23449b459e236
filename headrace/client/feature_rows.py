"""Rows that a service hands over for scoring, held to the columns that a model takes: numbers, none missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from headrace.codec.misfit import shown
from headrace.codec.numbers import plain
from headrace.errors import SchemaError
from headrace.models.inputs import matrix
from headrace.models.score.feeding import Matrix

FeatureRows = pl.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]


def as_rows(rows: FeatureRows) -> pl.DataFrame | list[Mapping[str, Any]]:
    """Rows as a frame or as a list of mappings.

    Raises:
        SchemaError: one of them is no mapping.
    """
    if isinstance(rows, pl.DataFrame):
        return rows
    listed = [rows] if isinstance(rows, Mapping) else list(rows)
    for index, row in enumerate(listed):
        if not isinstance(row, Mapping):
            raise SchemaError(f"row {index} is {shown(row)}, not a mapping of features")
    return listed


def ids_of(rows: pl.DataFrame | list[Mapping[str, Any]], name: str) -> list[str]:
    """What routes each row where a policy splits answers: its ``name`` field, or else its index."""
    if isinstance(rows, pl.DataFrame):
        given: list[Any] = rows[name].to_list() if name in rows.columns else [None] * rows.height
    else:
        given = [row.get(name) for row in rows]
    return [str(index) if one is None else str(one) for index, one in enumerate(given)]


def feature_matrix(rows: pl.DataFrame | list[Mapping[str, Any]], features: Sequence[str]) -> Matrix:
    """The features of rows, float32 (n, len(features)); what else the rows hold is passed over.

    Raises:
        SchemaError: a feature is missing, is no number, or is null, NaN or infinite; the message names row and feature.
    """
    frame = _columns(rows, features) if isinstance(rows, pl.DataFrame) else _frame(rows, features)
    found = matrix(frame, features)
    if not np.isfinite(found).all():
        row, column = (int(place[0]) for place in np.nonzero(~np.isfinite(found)))
        value = shown(frame[features[column]][row], typed=False)
        raise SchemaError(f"row {row}: {features[column]} is {value}; a model takes finite numbers of 32 bits")
    return found


def _columns(frame: pl.DataFrame, features: Sequence[str]) -> pl.DataFrame:
    if missing := [f for f in features if f not in frame.columns]:
        raise SchemaError(f"rows lack the feature columns {', '.join(missing)}")
    for name in features:
        dtype = frame[name].dtype
        if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
            raise SchemaError(f"feature {name} is a column of {dtype}, not of numbers")
    return frame


def _frame(rows: list[Mapping[str, Any]], features: Sequence[str]) -> pl.DataFrame:
    columns = []
    for name in features:
        values = [_number(row, index, name) for index, row in enumerate(rows)]
        columns.append(pl.Series(name, values, dtype=pl.Float64))
    return pl.DataFrame(columns)


def _number(row: Mapping[str, Any], index: int, name: str) -> float | None:
    if name not in row:
        raise SchemaError(f"row {index} lacks the feature {name}")
    value = plain(row[name])
    if value is not None and not isinstance(value, int | float):
        raise SchemaError(f"row {index}: {name} is {shown(row[name], typed=False)}, not a number")
    try:
        return None if value is None else float(value)
    except OverflowError:
        raise SchemaError(f"row {index}: {name} is {shown(row[name], typed=False)}, which is too large") from None
