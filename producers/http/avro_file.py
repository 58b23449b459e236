"""Avro object container files in a body: at most so many bytes of them, decompressed too."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import fastavro

from headrace.codec.tree import parse
from headrace.errors import ConfigError
from headrace.producers.files.avro_rows import read_avro
from headrace.producers.files.batch import Batch, Options
from headrace.producers.http.problem import Problem

MAGIC = b"Obj\x01"
SYNC = 16


def read(body: bytes, schema: dict[str, Any], cap: int, most: int) -> Iterator[Batch]:
    """The events of a file.

    Args:
        body: the file.
        schema: of the events.
        cap: bytes that its blocks may have, decompressed.
        most: events that it may hold.

    Raises:
        ConfigError: it is no such file, or damaged. Problem: 413 or 415: it is too large, or its codec is not read.
    """
    yield from read_avro(BytesIO(_plain(body, cap, most)), Options(), parse(schema).fields, schema)


def _plain(body: bytes, cap: int, most: int) -> bytes:
    """The file with its blocks not compressed, each of which was seen to be small enough first."""
    file = BytesIO(body)
    try:
        metadata = dict(fastavro.block_reader(file).metadata)
    except Exception as e:  # noqa: BLE001 - whatever a damaged header makes of the reader
        raise ConfigError(f"not an Avro file: {e}") from None
    codec = metadata.get("avro.codec", "null")
    if codec not in ("null", "deflate"):
        raise Problem(415, "avro_codec", f"the file's codec {str(codec)[:20]} is not read here; use null or deflate")
    out, size, events = bytearray(body[: file.tell()]), 0, 0
    while file.tell() < len(body):
        count, length = _long(file), _long(file)
        block, sync = file.read(max(0, length)), file.read(SYNC)
        if count < 0 or length < 0 or len(block) != length or len(sync) != SYNC:
            raise ConfigError("the file is damaged: it ends inside a block")
        if codec == "deflate":
            block = _inflated(block, cap - size)
        size, events = size + len(block), events + count
        if size > cap:
            raise Problem(413, "too_large", f"the file has more than {cap:,} bytes when decompressed")
        if events > most:
            raise Problem(413, "too_many_events", f"the file holds more than {most:,} events: send fewer at once")
        out += _written(count) + _written(len(block)) + block + sync
    return _renamed(bytes(out)) if codec == "deflate" else body


def _inflated(block: bytes, room: int) -> bytes:
    inflate = zlib.decompressobj(-15)
    try:
        return inflate.decompress(block, max(1, room + 1))
    except zlib.error as e:
        raise ConfigError(f"the file is damaged: {e}") from None


def _renamed(file: bytes) -> bytes:
    """A header that says ``null`` where it said ``deflate``."""
    return file.replace(b"\x14avro.codec\x0edeflate", b"\x14avro.codec\x08null", 1)


def _long(file: BytesIO) -> int:
    """A whole number in Avro's zigzag form."""
    n = shift = 0
    while True:
        byte = file.read(1)
        if not byte or shift > 63:
            raise ConfigError("the file is damaged: it ends inside a block")
        n |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            return (n >> 1) ^ -(n & 1)


def _written(n: int) -> bytes:
    n <<= 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)
