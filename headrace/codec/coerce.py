"""Frames of any types, held to a schema: the rows that fit, in its own types, and why the others do not."""

from __future__ import annotations

from typing import Any

import polars as pl

from headrace.codec.forms import column_form
from headrace.codec.frame_rows import FrameRows
from headrace.codec.rows import RowEncoder
from headrace.codec.topic import TopicCodec
from headrace.codec.tree import parse
from headrace.codec.types import avro_fields
from headrace.schema.registry import MemoryRegistry, subject_of


def coerce(frame: pl.DataFrame, schema: dict[str, Any]) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """The rows of ``frame`` as rows of an Avro record schema, each exactly, or not at all.

    A field that is missing takes its default. Columns the schema does not name are passed over.

    Returns:
        The rows that fit, and for each other row its index and the reason.

    Raises:
        SchemaError: the schema is no record.
    """
    codec = codec_of(schema)
    found = RowEncoder(codec, column_form(), unknown=lambda _: None).encode(FrameRows(frame, parse(schema).fields))
    return codec.decode(found.values).frame(), [(bad.row, bad.reason) for bad in found.bad]


def codec_of(schema: dict[str, Any]) -> TopicCodec:
    """A codec of records of a schema that needs no registry.

    Raises:
        SchemaError: the schema is no record.
    """
    avro_fields(schema)
    registry = MemoryRegistry()
    registry.register(subject_of("rows", schema), schema)
    return TopicCodec("rows", [schema], registry)
