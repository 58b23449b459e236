"""Python values to Avro bytes, the types that hold no others: a table of what each takes, exactly or not at all.

A row of the table says which values a type (with its logical type) takes and turns one into what Avro writes: an int,
a float, text or bytes. It never rounds, cuts or guesses; the one exception is ``float``, whose 32 bits take the
nearest value, as the other doors do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import partial
from struct import Struct
from typing import Any
from uuid import UUID

import numpy as np

from headrace.codec.misfit import misfit
from headrace.codec.tree import Node

Encode = Callable[[Any], bytes]
Exact = Callable[[Node, Any], Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOCAL_EPOCH = datetime(1970, 1, 1)
EPOCH_DAY = EPOCH.toordinal()
DAY_US = 86_400_000_000
BITS = {"int": 32, "long": 64}
MILLIS = 1000
"""Microseconds."""

_DATE = r"\d{4}-\d\d-\d\d"
_TIME = r"\d\d:\d\d(?::\d\d(?:\.(?P<fraction>\d+))?)?"
_ZONE = r"(?P<zone> ?(?:[Zz]|[+-]\d\d:?\d\d))"
_IS_DATE = re.compile(_DATE, re.ASCII)
_IS_TIME = re.compile(_TIME, re.ASCII)
_IS_MOMENT = re.compile(f"({_DATE})(?:[T ]({_TIME}){_ZONE}?)?", re.ASCII)
_IS_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_DIGITS = Context(prec=100, Emax=999_999, Emin=-999_999, traps=[Inexact, InvalidOperation])

_DOUBLE, _SINGLE = Struct("<d").pack, Struct("<f").pack
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
            return lambda value: _DOUBLE(value if type(value) is float else exact(value))
        case "float":
            return lambda value: _SINGLE(exact(value))
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
            return lambda v: whole(_micros(v - EPOCH) if type(v) is datetime and v.tzinfo is UTC else exact(v))
        case _:
            return lambda value: whole(exact(value))


def plain(value: object) -> object:
    """A NumPy scalar as the Python value it holds; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


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


def _number(node: Node, value: Any) -> int | float | Decimal:
    """A number as such: no bool, no text; a decimal that is one."""
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, int | float | Decimal):
        raise misfit(value, node)
    if isinstance(found, Decimal) and not found.is_finite():
        raise misfit(value, node)
    return found


def _integer(node: Node, value: Any) -> int:
    number = _number(node, value)
    limit = 1 << BITS[node.kind] - 1
    if number != number or not -limit <= number < limit:
        raise misfit(value, node, f"it is outside of {BITS[node.kind]} bits")
    found = int(number)
    if found != number:
        raise misfit(value, node, "it has a fraction")
    return found


def _double(node: Node, value: Any) -> float:
    number = _number(node, value)
    if isinstance(number, float):
        return float(number)
    try:
        found = float(number)
    except OverflowError:
        raise misfit(value, node, "it is too large") from None
    if found != number:
        raise misfit(value, node, f"the nearest it can hold is {found!r}; give a float to have it rounded")
    return found


def _single(node: Node, value: Any) -> float:
    if isinstance(value, np.float32):
        return float(value)
    number = _number(node, value)
    found = _double(node, number)
    try:
        held = _SINGLE(found)
    except OverflowError:
        raise misfit(value, node, "it is too large for 32 bits") from None
    if not isinstance(number, float) and Struct("<f").unpack(held)[0] != number:
        raise misfit(value, node, "32 bits do not hold it; give a float to have it rounded")
    return found


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


def _decimal(node: Node, value: Any) -> bytes:
    number = _number(node, value)
    if isinstance(number, float) and not math.isfinite(number):
        raise misfit(value, node)
    given = Decimal.from_float(number) if isinstance(number, float) else Decimal(number)
    if given and given.adjusted() >= node.precision - node.scale:
        raise misfit(value, node, "it has more digits before the point")
    try:
        scaled = given.scaleb(node.scale, _DIGITS)
        unscaled = int(scaled)
    except (Inexact, InvalidOperation):
        raise misfit(value, node, _rounded(number)) from None
    if unscaled != scaled:
        raise misfit(value, node, _rounded(number))
    size = node.size if node.kind == "fixed" else (unscaled if unscaled >= 0 else ~unscaled).bit_length() // 8 + 1
    try:
        return unscaled.to_bytes(size, "big", signed=True)
    except OverflowError:
        raise misfit(value, node, f"{node.size} bytes do not hold it") from None


def _rounded(number: object) -> str:
    told = "it would be rounded"
    return f"{told}; give a Decimal, as a float holds few decimals exactly" if isinstance(number, float) else told


def _date(node: Node, value: Any) -> int:
    found = plain(value)
    if isinstance(found, str) and _IS_DATE.fullmatch(found):
        found = _iso(node, date.fromisoformat, found)
    if isinstance(found, date) and not isinstance(found, datetime):
        return found.toordinal() - EPOCH_DAY
    return _count(node, value)


def _time(node: Node, value: Any) -> int:
    found = value
    if isinstance(found, str) and (shape := _IS_TIME.fullmatch(found)):
        found = _iso(node, time.fromisoformat, _six_digits(node, found, shape))
    if not isinstance(found, time):
        count = _count(node, value)
        if not 0 <= count < DAY_US // _unit(node):
            raise misfit(value, node, "it is outside of a day")
        return count
    if found.tzinfo is not None:
        raise misfit(value, node, "it has a zone, which a time of day does not")
    micros = ((found.hour * 60 + found.minute) * 60 + found.second) * 1_000_000 + found.microsecond
    return _in_unit(node, value, micros)


def _timestamp(node: Node, value: Any) -> int:
    found = value
    if isinstance(found, str) and (shape := _IS_MOMENT.fullmatch(found)):
        found = _iso(node, datetime.fromisoformat, _six_digits(node, found, shape).upper().replace(" Z", "Z"))
        found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    if not isinstance(found, datetime):
        return _count(node, value)
    if found.utcoffset() is None:
        raise misfit(value, node, "it has no zone; give one, as datetime.now(UTC) has")
    return _since(node, value, found, EPOCH)


def _local_timestamp(node: Node, value: Any) -> int:
    found = value
    if isinstance(found, str) and (shape := _IS_MOMENT.fullmatch(found)) and not shape["zone"]:
        found = _iso(node, datetime.fromisoformat, _six_digits(node, found, shape))
    if not isinstance(found, datetime):
        return _count(node, value)
    if found.tzinfo is not None:
        raise misfit(value, node, "it has a zone, which a local time does not")
    return _since(node, value, found, LOCAL_EPOCH)


def _count(node: Node, value: Any) -> int:
    """A count of the unit that the type is in, since the epoch or midnight: what Avro itself holds."""
    found = plain(value)
    # NumPy tells times of some units as numbers, of whatever unit.
    if isinstance(value, np.datetime64 | np.timedelta64) or isinstance(found, bool) or not isinstance(found, int):
        raise misfit(value, node)
    return _integer(node, found)


def _since(node: Node, value: Any, moment: datetime, epoch: datetime) -> int:
    return _in_unit(node, value, _micros(moment - epoch))


def _micros(span: timedelta) -> int:
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def _unit(node: Node) -> int:
    return MILLIS if node.logical.endswith("millis") else 1


def _in_unit(node: Node, value: Any, micros: int) -> int:
    if node.logical.endswith("micros"):
        return micros
    if micros % MILLIS:
        raise misfit(value, node, "it has microseconds, which would be cut off")
    return micros // MILLIS


def _iso(node: Node, read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except ValueError as e:
        raise misfit(text, node, str(e)) from None


def _six_digits(node: Node, text: str, shape: re.Match[str]) -> str:
    """ISO 8601 text with no more than the six digits of a second that Python reads; the rest must be zeros."""
    fraction = shape["fraction"] or ""
    if fraction[6:].strip("0"):
        raise misfit(text, node, "it has parts of a microsecond")
    start, end = shape.span("fraction")
    return text[: start + 6] + text[end:] if len(fraction) > 6 else text


_EXACT: dict[str, Exact] = {
    "null": _null,
    "boolean": _boolean,
    "int": _integer,
    "long": _integer,
    "float": _single,
    "double": _double,
    "string": _string,
    "enum": _enum,
    "bytes": _bytes,
    "fixed": _fixed,
    "uuid": _uuid,
    "decimal": _decimal,
    "date": _date,
    "time-millis": _time,
    "time-micros": _time,
    "timestamp-millis": _timestamp,
    "timestamp-micros": _timestamp,
    "local-timestamp-millis": _local_timestamp,
    "local-timestamp-micros": _local_timestamp,
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
