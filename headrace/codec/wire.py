"""Confluent wire format: one magic byte, the schema's id, then the Avro body.

After a 0 the id is a number of four bytes (big endian); after a 1 it is a GUID of 16, as newer serializers write it.
"""

from __future__ import annotations

import struct
import uuid
from enum import IntEnum

HEADER = struct.Struct(">bI")
MAGIC = 0
GUID_MAGIC = 1
GUID_HEADER = 17
"""Bytes before the body where the id is a GUID."""


class Code(IntEnum):
    """What became of one record in decoding. The name in lower case is a dead letter's code."""

    OK = 0
    NULL_VALUE = 1
    TOO_SHORT = 2
    WRONG_MAGIC = 3
    UNKNOWN_SCHEMA = 4
    WRONG_RECORD = 5
    UNDECODABLE = 6
    TRAILING_BYTES = 7

    @property
    def label(self) -> str:
        return self.name.lower()


def header(schema_id: int) -> bytes:
    """The five bytes before an Avro body of this schema."""
    return HEADER.pack(MAGIC, schema_id)


def schema_of(value: bytes) -> tuple[int | str, int] | None:
    """The id or GUID that a value begins with, and where its body does; None: it begins with neither."""
    if len(value) >= HEADER.size and value[0] == MAGIC:
        return int(HEADER.unpack_from(value)[1]), HEADER.size
    if len(value) >= GUID_HEADER and value[0] == GUID_MAGIC:
        return str(uuid.UUID(bytes=value[1:GUID_HEADER])), GUID_HEADER
    return None
