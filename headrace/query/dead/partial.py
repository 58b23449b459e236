"""The record of a dead letter decoded as far as it goes, and the byte at which it goes no further."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace.codec.topic import Decoded, TopicCodec
from headrace.codec.wire import HEADER, Code, header, schema_of
from headrace.errors import SchemaError
from headrace.schema.own import full_name
from headrace.schema.records import DeadLetter
from headrace.schema.registry import MemoryRegistry, Registry

_SUBJECT = "a-record"


@dataclass(frozen=True)
class Partial:
    """What a record's bytes gave.

    Attributes:
        schema: full name of the writer's schema and its id; empty where the bytes name none that is known.
        fields: name -> value of the fields before the one that failed.
        failed_at: byte of the record, its five-byte header included, at which it went wrong; None: it is sound.
        failed: the field that could not be read; empty where none was tried.
        reason: what is wrong, in words; empty where nothing is.
    """

    schema: str
    fields: dict[str, Any]
    failed_at: int | None
    failed: str
    reason: str


def decode_letter(letter: DeadLetter, registry: Registry) -> Partial:
    """What the bytes of a dead letter give. A row of a file that was refused is JSON or text, and no Avro."""
    if letter.partition >= 0:
        return decode_partly(letter.value, registry)
    try:
        row = json.loads(letter.value or b"")
    except ValueError:
        row = None
    return Partial("", row if isinstance(row, dict) else {}, None, "", "")


def readable(value: object) -> str:
    """A value as people read it: text as it is, bytes as text where they are that, else as hex."""
    if value is None:
        return "null"
    if isinstance(value, bytes):
        text = value.decode(errors="replace")
        return text if text.isprintable() and "\ufffd" not in text else value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str) else json.dumps(value, default=readable)


def decode_partly(value: bytes | None, registry: Registry) -> Partial:
    """Decode a record field by field, with the platform's own bounded decoder, until one fails."""
    framed = schema_of(value or b"")
    if value is None or framed is None:
        return _without_header(value)
    schema_id, begin = framed
    longer = begin - HEADER.size
    value = header(0) + value[begin:]
    try:
        schema = registry.schema_of(schema_id)
    except SchemaError as e:
        return Partial(f"schema {schema_id}", {}, HEADER.size, "", str(e))
    if schema is None:
        return Partial("", {}, 1, "", f"the registry knows no schema {schema_id}")
    if not isinstance(schema, dict) or schema.get("type") != "record":
        return Partial(f"schema {schema_id}", {}, HEADER.size, "", "it is no record")
    name = f"{full_name(schema)} (schema {schema_id})"
    whole = _decoded(schema, value)
    if whole.codes[0] == Code.OK:
        return Partial(name, _row(whole), None, "", "")
    fields = schema["fields"]
    failed_at = int(whole.error_at[0]) + (longer if whole.error_at[0] >= 0 else 0)
    for count in range(len(fields), -1, -1):
        row = _first(schema | {"fields": fields[:count]}, value)
        if row is not None:
            failed = fields[count]["name"] if count < len(fields) else ""
            return Partial(name, row, failed_at if failed_at >= 0 else None, failed, whole.reasons[0])
    return Partial(name, {}, failed_at, fields[0]["name"], whole.reasons[0])


def _without_header(value: bytes | None) -> Partial:
    if value is None:
        return Partial("", {}, None, "", "the value is null")
    if len(value) < HEADER.size:
        return Partial("", {}, len(value), "", f"it ends before its header of {HEADER.size} bytes does")
    return Partial("", {}, 0, "", "it does not begin with a Confluent header")


def _first(schema: Mapping[str, Any], value: bytes) -> dict[str, Any] | None:
    """The fields of a schema that has fewer of them, or None where they cannot be read either."""
    decoded = _decoded(schema, value)
    if decoded.codes[0] == Code.TRAILING_BYTES:
        # Where the record goes on is where these fields end.
        decoded = _decoded(schema, value[: int(decoded.error_at[0])])
    return _row(decoded) if decoded.codes[0] == Code.OK else None


def _decoded(schema: Mapping[str, Any], value: bytes) -> Decoded:
    registry = MemoryRegistry()
    own = registry.register(_SUBJECT, dict(schema))
    return TopicCodec(_SUBJECT, [dict(schema)], registry).decode([header(own) + value[HEADER.size :]])


def _row(decoded: Decoded) -> dict[str, Any]:
    return decoded.frame().row(0, named=True) if decoded.frame().width else {}
