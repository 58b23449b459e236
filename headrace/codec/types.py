"""Which Polars type stands for which Avro type, one way and the other.

Records are structs, arrays lists, maps lists of structs of key and value, optional types nullable columns. Any other
union is a struct with a nullable field for each branch but null (``member0``, ``member1``, ...), as Spark's
Avro reader has it. Enums and uuids are strings, fixed is binary, a null alone a boolean column of nulls.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from headrace.codec.tree import Node, parse
from headrace.errors import SchemaError

_KINDS: dict[str, pl.DataType] = {
    "null": pl.Boolean(),
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "string": pl.String(),
    "enum": pl.String(),
    "bytes": pl.Binary(),
    "fixed": pl.Binary(),
}
_LOGICAL: dict[str, pl.DataType] = {
    "date": pl.Date(),
    "time-millis": pl.Time(),
    "time-micros": pl.Time(),
    "timestamp-micros": pl.Datetime("us", "UTC"),
    "timestamp-millis": pl.Datetime("ms", "UTC"),
    "local-timestamp-micros": pl.Datetime("us"),
    "local-timestamp-millis": pl.Datetime("ms"),
}


def polars_type_of(node: Node) -> pl.DataType:
    """The Polars type of a column that holds values of a node."""
    match node.kind:
        case "record" | "union":
            return pl.Struct({f.name: polars_type_of(f.node) for f in node.fields})
        case "array":
            return pl.List(polars_type_of(node.fields[0].node))
        case "map":
            return pl.List(pl.Struct({f.name: polars_type_of(f.node) for f in node.fields}))
    if node.logical == "decimal":
        return pl.Decimal(node.precision, node.scale)
    return _LOGICAL.get(node.logical, _KINDS[node.kind])


def polars_schema(schema: dict[str, Any]) -> dict[str, pl.DataType]:
    """Column name -> Polars type for an Avro record schema, in the schema's order.

    Raises:
        SchemaError: ``schema`` is no Avro record, or holds itself.
    """
    avro_fields(schema)
    return {f.name: polars_type_of(f.node) for f in parse(schema).fields}


def avro_fields(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of a record schema.

    Raises:
        SchemaError: ``schema`` is no Avro record.
    """
    if not isinstance(schema, dict) or schema.get("type") != "record" or "fields" not in schema:
        raise SchemaError("the schema must be an Avro record: {'type': 'record', 'name': ..., 'fields': [...]}")
    fields: list[dict[str, Any]] = schema["fields"]
    return fields


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
