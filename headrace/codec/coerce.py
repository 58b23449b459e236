"""Rows from outside, held to a schema: columns cast to its types, and what does not fit told row by row."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from headrace.codec.types import avro_fields, polars_schema


def coerce(frame: pl.DataFrame, schema: dict[str, Any]) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """Cast ``frame`` to the columns of an Avro record schema.

    Text is read as the field's type (timestamps as ISO 8601 or integers); an empty text is a null. A field
    that is missing takes its default. Columns the schema does not name are passed over.

    Returns:
        The rows that fit, and for each other row its number (from 0) and the reason.
    """
    columns: list[pl.Series] = []
    problems: dict[int, str] = {}
    for field, (name, dtype) in zip(avro_fields(schema), polars_schema(schema).items(), strict=True):
        optional = isinstance(field["type"], list) and "null" in field["type"]
        if name in frame.columns:
            source = frame[name]
            if source.dtype == pl.String and dtype != pl.String:
                source = source.set(source == "", None)
            column = _cast(source, dtype)
            unreadable = (column.is_null() & source.is_not_null()).arg_true().to_list()
            for row in unreadable:
                problems.setdefault(row, f"field {name}: {_text(source[row])} is not {_kind(field['type'])}")
        else:
            column = pl.repeat(field.get("default"), frame.height, dtype=dtype, eager=True)
        if not optional:
            for row in column.is_null().arg_true().to_list():
                problems.setdefault(row, f"field {name} is missing")
        columns.append(column.alias(name))
    fitting = pl.DataFrame(columns)
    if problems:
        keep = pl.Series([row not in problems for row in range(frame.height)], dtype=pl.Boolean)
        fitting = fitting.filter(keep)
    return fitting, sorted(problems.items())


def _text(value: object) -> str:
    """A value as its row has it: text in quotes, the rest as JSON writes it."""
    return json.dumps(value, default=str, ensure_ascii=False)


def _kind(avro_type: Any) -> str:
    """An Avro type in words, with its article."""
    if isinstance(avro_type, list):
        return " or ".join(_kind(branch) for branch in avro_type if branch != "null")
    if isinstance(avro_type, dict):
        logical = avro_type.get("logicalType", "")
        if logical.startswith(("timestamp", "local-timestamp")):
            return "a time (ISO 8601)"
        return _kind(logical or avro_type["type"])
    return f"an {avro_type}" if avro_type[0] in "aeiou" else f"a {avro_type}"


def _cast(source: pl.Series, dtype: pl.DataType) -> pl.Series:
    if isinstance(dtype, pl.Datetime):
        if source.dtype == pl.String:
            return source.str.to_datetime(time_unit=dtype.time_unit, time_zone="UTC", strict=False)
        if isinstance(source.dtype, pl.Datetime) and source.dtype.time_zone is None:
            source = source.dt.replace_time_zone("UTC")
        if isinstance(source.dtype, pl.Datetime):
            source = source.dt.convert_time_zone("UTC")
    if dtype == pl.Boolean and source.dtype == pl.String:
        known = {"true": True, "false": False, "1": True, "0": False}
        return source.str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.Boolean)
    if dtype.is_integer() and source.dtype.is_float():
        whole = source.round(0) == source
        return source.set(~whole.fill_null(False), None).cast(dtype, strict=False)
    return source.cast(dtype, strict=False)
