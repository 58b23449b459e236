"""JSON events that plainly fit, to Avro bytes at once: what a fast parser gives, where nothing of it can be in doubt.

The encoder of the form (:mod:`headrace.codec.values`) decides; this one may only do what it would do, and doubts the
rest: what the parser may have rounded, what is written in an unusual way, or does not fit. Tests hold it to that.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from struct import Struct
from typing import Any

import orjson

from headrace.codec.lanes import EXACT
from headrace.codec.moments import NEAR_1970_US
from headrace.codec.scalars import sized, whole
from headrace.codec.times import unit
from headrace.codec.tree import Node, parse

Write = Callable[[Any], bytes]

_EPOCH = datetime(1970, 1, 1)
_FAR_US = 4_000_000_000_000_000
"""Counts from here on are in the year 2096, or of another unit."""
_TIME_LENGTHS = (20, 24, 27)
"""Of 2024-03-01T10:00:00Z, with milliseconds, with microseconds."""
_DOUBLE, _SINGLE = Struct("<d").pack, Struct("<f").pack
_ZEROS = b"0" * 20
_SIZES = [whole(n) for n in range(64)]
_WHOLE = [whole(n) for n in range(4096)]


class Doubt(Exception):
    """The encoder of the form is to decide."""


class Quick:
    """The quick way for events of a flat schema.

    Args:
        schema: of the events.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        fields = parse(schema).fields
        self._count = len(fields)
        self._ways: dict[bool, list[tuple[str, Write]]] = {}
        for sure in (False, True):
            writers = [(f.name, _writer(f.node, sure)) for f in fields]
            self._ways[sure] = [(name, write) for name, write in writers if write is not None]
        self.possible = len(self._ways[True]) == self._count
        """Whether every field has a quick way."""

    def parse(self, text: bytes) -> Any:
        """The value of a JSON text.

        Raises:
            Doubt: it is none, or a name may stand twice in one of its objects: those are of events alone.
        """
        try:
            found = orjson.loads(text)
        except ValueError:
            raise Doubt from None
        # A name that stands twice is in the text and not in the object. Where no quote is followed by space, each
        # name ends in '":'.
        names = len(found) if type(found) is dict else _names(found)
        if (
            text.count(b'":') != names
            or b'" ' in text
            or b'"\n' in text
            or (b"\t" in text and b'"\t' in text)
            or (b"\r" in text and b'"\r' in text)
        ):
            raise Doubt
        return found

    def sure_of_zeros(self, text: bytes) -> bool:
        """Whether a zero that was parsed from a text stands there as one: none is a number too small for a double."""
        return b"e-" not in text and b"E-" not in text and _ZEROS not in text

    def encode(self, event: dict[str, Any], sure: bool) -> bytes:
        """The body of an event's record.

        Raises:
            Doubt: one of its values needs thought.
        """
        if len(event) != self._count:
            raise Doubt
        try:
            return b"".join([write(event[name]) for name, write in self._ways[sure]])
        except KeyError:
            raise Doubt from None


def _names(found: Any) -> int:
    """How many names the objects of an array have; -1: it is no array of objects alone."""
    if type(found) is not list or not all(type(one) is dict for one in found):
        return -1
    return sum(map(len, found))


def _writer(node: Node, sure: bool) -> Write | None:
    """What writes a field's value; None: there is no quick way for its type."""
    write = _plain(node, sure)
    if write is None or node.null_branch < 0:
        return write
    null, branch, plain = whole(node.null_branch), whole(node.branch), write
    return lambda value: null if value is None else branch + plain(value)


def _plain(node: Node, sure: bool) -> Write | None:
    kind = node.logical or node.kind
    if kind in ("timestamp-millis", "timestamp-micros"):
        return _moment(unit(node))
    if kind == "enum":
        return _symbol({symbol: whole(i) for i, symbol in enumerate(node.symbols)})
    if kind in ("double", "float"):
        return _number(sure, single=kind == "float")
    return _WRITERS.get(kind)


def _string(value: Any) -> bytes:
    if type(value) is not str:
        raise Doubt
    data = value.encode()
    n = len(data)
    return _SIZES[n] + data if n < 64 else sized(data)


def _boolean(value: Any) -> bytes:
    if value is True:
        return b"\1"
    if value is False:
        return b"\0"
    raise Doubt


def _int(value: Any) -> bytes:
    if type(value) is not int or not -(1 << 31) <= value < 1 << 31:
        raise Doubt
    return _WHOLE[value] if 0 <= value < 4096 else whole(value)


def _long(value: Any) -> bytes:
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise Doubt
    return whole(value)


def _symbol(written: dict[str, bytes]) -> Write:
    def symbol(value: Any) -> bytes:
        found = written.get(value) if type(value) is str else None
        if found is None:
            raise Doubt
        return found

    return symbol


def _number(sure: bool, *, single: bool) -> Write:
    """Numbers below those of which a whole one may have been rounded, and above those that may become zero."""
    most = 1 << 24 if single else EXACT
    least = 1e-30 if single else 0.0
    pack = _SINGLE if single else _DOUBLE

    def number(value: Any) -> bytes:
        if type(value) is float:
            if -most < value < most and (sure if not value else not least or abs(value) > least):
                return pack(value)
        elif type(value) is int and -most < value < most:
            return pack(value)
        raise Doubt

    return number


def _moment(us: int) -> Write:
    """Times as ``2024-03-01T10:00:00Z``, with or without a fraction, and counts that are clear."""

    def moment(value: Any) -> bytes:
        if type(value) is int:
            if NEAR_1970_US <= value * us < _FAR_US:
                return whole(value)
            raise Doubt
        if (
            type(value) is not str
            or len(value) not in _TIME_LENGTHS
            or value[4] != "-"
            or value[5] not in "01"
            or value[10] != "T"
            or value[11] not in "012"
            or value[11:13] == "24"
            or value[13] != ":"
            or value[16] != ":"
            or value[19] not in "Z."
            or value[-1] != "Z"
        ):
            raise Doubt
        try:
            since = datetime.fromisoformat(value[:-1]) - _EPOCH
        except ValueError:
            raise Doubt from None
        micros = since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds
        if us == 1:
            return whole(micros)
        if micros % us:
            raise Doubt
        return whole(micros // us)

    return moment


_WRITERS: dict[str, Write] = {"string": _string, "boolean": _boolean, "int": _int, "long": _long}
