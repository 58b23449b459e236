"""Confluent wire format: one magic byte, four bytes of schema id (big endian), then the Avro body."""

from __future__ import annotations

import struct
from enum import IntEnum

HEADER = struct.Struct(">bI")
MAGIC = 0


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


def schema_id_of(value: bytes) -> int:
    """The schema id that a value's header names."""
    return int(HEADER.unpack_from(value)[1])
