"""Which Polars type stands for which Avro type. A topic's record is flat: scalars, and arrays of scalars."""

from __future__ import annotations

from typing import Any

import polars as pl

from headrace.errors import SchemaError

_SCALARS: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "string": pl.String(),
    "bytes": pl.Binary(),
}
_LOGICAL: dict[str, pl.DataType] = {
    "timestamp-micros": pl.Datetime("us", "UTC"),
    "timestamp-millis": pl.Datetime("ms", "UTC"),
    "date": pl.Date(),
}


def avro_fields(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of a record schema.

    Raises:
        SchemaError: ``schema`` is no Avro record.
    """
    if not isinstance(schema, dict) or schema.get("type") != "record" or "fields" not in schema:
        raise SchemaError("the schema must be an Avro record: {'type': 'record', 'name': ..., 'fields': [...]}")
    fields: list[dict[str, Any]] = schema["fields"]
    return fields


def polars_type(avro: Any, where: str) -> pl.DataType:
    """The Polars type of a column that holds values of the Avro type ``avro``.

    Raises:
        SchemaError: the type is outside what the codec carries; the message names ``where``.
    """
    if isinstance(avro, list):
        others = [t for t in avro if t != "null"]
        if len(others) == 1:
            return polars_type(others[0], where)
    elif isinstance(avro, dict):
        if avro.get("logicalType") in _LOGICAL:
            return _LOGICAL[avro["logicalType"]]
        if avro["type"] == "array":
            return pl.List(polars_type(avro["items"], where))
        if avro["type"] == "enum":
            return pl.String()
        if avro["type"] == "fixed":
            return pl.Binary()
        return polars_type(avro["type"], where)
    elif avro in _SCALARS:
        return _SCALARS[avro]
    raise SchemaError(f"{where}: Avro type {avro!r} is not carried; use scalars, optional scalars, arrays of scalars")


def polars_schema(schema: dict[str, Any]) -> dict[str, pl.DataType]:
    """Column name -> Polars type for a flat Avro record schema, in the schema's order."""
    return {f["name"]: polars_type(f["type"], f"{schema['name']}.{f['name']}") for f in avro_fields(schema)}


def avro_type_of(dtype: pl.DataType, where: str) -> Any:
    """The Avro type that a feature column is written as: integers as long, floats as double.

    Raises:
        SchemaError: no Avro type carries the column.
    """
    if dtype.is_integer():
        return "long"
    if dtype.is_float():
        return "double"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype == pl.String:
        return "string"
    raise SchemaError(f"feature {where}: {dtype} is not carried; use numbers, booleans or strings")
