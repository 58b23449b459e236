"""Python values to Avro bytes, the types that hold no others: a table of what each takes, exactly or not at all.

A row of the table says which values a type (with its logical type) takes and turns one into what Avro writes: an int,
a float, text or bytes. It never rounds, cuts or guesses; the one exception is ``float``, whose 32 bits take the
nearest value, as the other doors do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np

from headrace.codec.misfit import misfit
from headrace.codec.numbers import BITS, decimal, double, double_bytes, integer, single, single_bytes
from headrace.codec.times import EPOCH, date_of, local_timestamp, micros, time_of, timestamp
from headrace.codec.tree import Node

Encode = Callable[[Any], bytes]
Exact = Callable[[Node, Any], Any]

_IS_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_SHORT = [bytes((n,)) for n in range(128)]
_LAST = _SHORT + [bytes((n & 127 | 128, n >> 7)) for n in range(128, 1 << 14)]
"""The last fourteen bits of a number."""
_MORE = [bytes((n & 127 | 128, n >> 7 | 128)) for n in range(1 << 14)]
"""Fourteen bits that others follow."""


def varint(n: int) -> bytes:
    """A whole number from 0 in Avro's base-128 form."""
    if n < 16384:
        return _LAST[n]
    more = _MORE[n & 16383]
    n >>= 14
    while n >= 16384:
        more += _MORE[n & 16383]
        n >>= 14
    return more + _LAST[n]


def whole(n: int) -> bytes:
    """A whole number in Avro's zigzag form."""
    return varint(n << 1 if n >= 0 else ~(n << 1))


def sized(data: bytes) -> bytes:
    """Bytes after their count."""
    n = len(data)
    return (_SHORT[n << 1] if n < 64 else varint(n << 1)) + data


def scalar_encoder(node: Node) -> Encode:
    """The encoder of a type that holds no others; null is no value of it.

    Raises (the encoder):
        Misfit: the value is none of this type, or not exactly.
    """
    exact = partial(_EXACT[node.logical or node.kind], node)
    match node.kind:
        case "null":
            return exact
        case "boolean":
            return lambda value: b"\1" if value is True else b"\0" if value is False else _SHORT[exact(value)]
        case "double":
            return lambda value: double_bytes(value if type(value) is float else exact(value))
        case "float":
            return lambda value: single_bytes(exact(value))
        case "string":
            return _text_encoder(node, exact)
        case "bytes":
            return lambda value: sized(exact(value))
        case "fixed":
            return exact
        case "int" | "long" if not node.logical:
            limit = 1 << BITS[node.kind] - 1
            return lambda v: whole(v if type(v) is int and -limit <= v < limit else exact(v))
        case "long" if node.logical == "timestamp-micros":
            return lambda v: whole(micros(v - EPOCH) if type(v) is datetime and v.tzinfo is UTC else exact(v))
        case _:
            return lambda value: whole(exact(value))


def _text_encoder(node: Node, exact: Callable[[Any], Any]) -> Encode:
    bare = not node.logical

    def encode(value: Any) -> bytes:
        text = value if bare and type(value) is str else exact(value)
        try:
            return sized(text.encode())
        except UnicodeEncodeError:
            raise misfit(value, node, "it holds half a surrogate pair, which UTF-8 cannot write") from None

    return encode


def _null(node: Node, value: Any) -> bytes:
    if value is not None:
        raise misfit(value, node)
    return b""


def _boolean(node: Node, value: Any) -> bool:
    if isinstance(value, np.bool_):
        return bool(value)
    if not isinstance(value, bool):
        raise misfit(value, node)
    return value


def _string(node: Node, value: Any) -> str:
    if not isinstance(value, str):
        raise misfit(value, node)
    return str.__str__(value)


def _uuid(node: Node, value: Any) -> str:
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str) or not _IS_UUID.fullmatch(value):
        raise misfit(value, node)
    return str.__str__(value)


def _enum(node: Node, value: Any) -> int:
    if not isinstance(value, str) or value not in node.symbols:
        raise misfit(value, node)
    return node.symbols.index(value)


def _bytes(node: Node, value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise misfit(value, node)
    return bytes(value)


def _fixed(node: Node, value: Any) -> bytes:
    found = _bytes(node, value)
    if len(found) != node.size:
        raise misfit(value, node)
    return found


_EXACT: dict[str, Exact] = {
    "null": _null,
    "boolean": _boolean,
    "int": integer,
    "long": integer,
    "float": single,
    "double": double,
    "string": _string,
    "enum": _enum,
    "bytes": _bytes,
    "fixed": _fixed,
    "uuid": _uuid,
    "decimal": decimal,
    "date": date_of,
    "time-millis": time_of,
    "time-micros": time_of,
    "timestamp-millis": timestamp,
    "timestamp-micros": timestamp,
    "local-timestamp-millis": local_timestamp,
    "local-timestamp-micros": local_timestamp,
}
"""Avro type, or logical type -> the values it takes, and what Avro writes for one."""

NATURAL: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (np.float32,),
    "double": (float,),
    "string": (str,),
    "enum": (str,),
    "bytes": (bytes, bytearray, memoryview),
    "fixed": (bytes, bytearray, memoryview),
    "uuid": (UUID,),
    "decimal": (Decimal,),
    "date": (date,),
    "time-millis": (time,),
    "time-micros": (time,),
    "timestamp-millis": (datetime,),
    "timestamp-micros": (datetime,),
    "local-timestamp-millis": (datetime,),
    "local-timestamp-micros": (datetime,),
}
"""Avro type, or logical type -> Python's own types for it: in a union these go first."""
