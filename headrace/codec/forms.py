"""What values look like where they come from (text, JSON, columns, Python), for each Avro type.

A form turns a value into the Python value it stands for, or refuses it; whether that one fits its field exactly is
decided in one place for all forms (:mod:`headrace.codec.scalars`). So the table of a form is short: it has the types
for which the form has no value of its own.

====================  =============================  ==============================  ===========================
type                  text (CSV)                     JSON                            columns (Parquet, Arrow, Avro)
====================  =============================  ==============================  ===========================
boolean               true, false, 1, 0              true, false                     boolean
int, long             digits; 1.0 and 1e3 are whole  number; 1.0 and 1e3 are whole   number without fraction
float, double         number, nan, inf               number                          number; decimals that it holds
string                as it is                       text                            text; bytes in UTF-8; integers
bytes, fixed          a character a byte (latin-1)   a character a byte (latin-1)    bytes
decimal               number                         number, or a number as text     number
enum, uuid            text                           text                            text
date, time            ISO 8601, or a count           ISO 8601, or a count            date, time, text, or a count
timestamp             ISO 8601, or a count           ISO 8601, or a count            time, date, text, or a count
array, map, record    not in text                    array, object                   list, struct, map
====================  =============================  ==============================  ===========================

Empty text is null where the field may be null; else it is the empty text for a string, and no value for other types.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from struct import unpack
from typing import Any

from headrace.codec.misfit import misfit
from headrace.codec.moments import DEFAULT, Clock, moment
from headrace.codec.numbers import single_bytes
from headrace.codec.tree import Node

Take = Callable[[Node, Any], Any]
"""A value as its form has it, to the Python value it stands for."""

TIMES = ("timestamp-millis", "timestamp-micros", "local-timestamp-millis", "local-timestamp-micros")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_COUNT = re.compile(r"[+-]?\d+", re.ASCII)
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_SPACE = " \t"
_LONG = 400
"""Digits of a whole number that no double reaches."""


@dataclass(frozen=True)
class Form:
    """How values look in one kind of source.

    Attributes:
        name: of the form, for messages.
        takes: logical type or type -> what turns a value into the Python value it stands for.
        empty_is_null: whether empty text is null where the field may be null.
        typed: whether messages name a value's Python type.
        nested: whether there are values of arrays, maps and records.
        members: whether a value of a union may be a struct of its branches (``member0``, ...), all but one null.
    """

    name: str
    takes: Mapping[str, Take] = field(default_factory=dict)
    empty_is_null: bool = False
    typed: bool = False
    nested: bool = True
    members: bool = False

    def take(self, node: Node) -> Take | None:
        """What turns a value for a node into a Python value; None: it is one already."""
        return self.takes.get(node.logical or node.kind)


PYTHON = Form("Python", typed=True)


def text_form(clock: Clock = DEFAULT) -> Form:
    """The form of text alone: the cells of a CSV file."""
    return Form("CSV", {**_TEXT, **_times(clock, _stripped)}, empty_is_null=True, nested=False)


def json_form(clock: Clock = DEFAULT) -> Form:
    """The form of JSON as :func:`headrace.codec.json_text.parse` reads it: a number with a fraction is a Decimal."""
    return Form("JSON", {**_JSON, **_times(clock, _as_it_is)})


def column_form(clock: Clock = DEFAULT) -> Form:
    """The form of columns and of Avro files: Python values that some reader made of typed ones."""
    return Form("columns", {**_COLUMNS, **_times(clock, _as_it_is)}, members=True)


def _times(clock: Clock, read: Callable[[Any], Any]) -> dict[str, Take]:
    def timestamp(node: Node, value: Any) -> Any:
        return moment(node, read(value), clock)

    def day(node: Node, value: Any) -> Any:
        return _counted(node, read(value))

    return dict.fromkeys(TIMES, timestamp) | dict.fromkeys(("date", "time-millis", "time-micros"), day)


def _counted(node: Node, value: Any) -> Any:
    """Text of a whole number as the count it is."""
    return int(value) if isinstance(value, str) and len(value) < _LONG and _COUNT.fullmatch(value) else value


def _as_it_is(value: Any) -> Any:
    return value


def _stripped(text: Any) -> Any:
    return text.strip(_SPACE)


def _number(node: Node, text: str) -> Decimal:
    """A number in decimal notation, exactly."""
    found = text.strip(_SPACE)
    if not _NUMBER.fullmatch(found):
        raise misfit(text, node)
    try:
        return Decimal(found)
    except InvalidOperation:
        raise misfit(text, node, "its exponent is too large") from None


def _whole_of_text(node: Node, text: str) -> int | Decimal:
    found = text.strip(_SPACE)
    return int(found) if len(found) < _LONG and _COUNT.fullmatch(found) else _number(node, text)


def _binary_of_text(node: Node, text: str) -> float | int:
    """The nearest number to one with a point or an exponent; one that is written whole must be held exactly."""
    found = text.strip(_SPACE)
    if _NOT_FINITE.fullmatch(found):
        return float(found)
    if len(found) < _LONG and _COUNT.fullmatch(found):
        return int(found)
    return _nearest(node, _number(node, text), text)


def _nearest(node: Node, number: Decimal, given: object) -> float:
    """The double, or the 32-bit number, nearest to one in decimal notation.

    Raises:
        Misfit: it is too large, or so small that nothing of it would be left.
    """
    nearest = float(number)
    if node.kind == "float" and math.isfinite(nearest):
        try:
            held = single_bytes(nearest)
        except OverflowError:
            nearest = math.inf
        else:
            nearest = unpack("<f", held)[0]
    if math.isinf(nearest):
        raise misfit(given, node, "it is too large")
    if number and not nearest:
        raise misfit(given, node, "it is too small")
    return nearest


def _boolean_of_text(node: Node, text: str) -> bool:
    found = _BOOLEANS.get(text.strip(_SPACE).lower())
    if found is None:
        raise misfit(text, node, "use true and false, or 1 and 0")
    return found


def _octets(node: Node, value: Any) -> Any:
    """Bytes as Avro's JSON encoding has them: a character from U+0000 to U+00FF a byte."""
    if not isinstance(value, str):
        raise misfit(value, node)
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        raise misfit(value, node, "it has a character over U+00FF, which stands for no byte") from None


def _number_or_text(node: Node, value: Any) -> Any:
    return _number(node, value) if isinstance(value, str) else value


def _binary_of_json(node: Node, value: Any) -> Any:
    return _nearest(node, value, value) if isinstance(value, Decimal) else value


def _string_of_column(node: Node, value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise misfit(value, node, "the bytes are not UTF-8") from None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _binary_of_column(node: Node, value: Any) -> Any:
    """A decimal is taken where its digits come back from the binary number."""
    if not isinstance(value, Decimal) or not value.is_finite():
        return value
    nearest = float(value)
    if math.isinf(nearest) or Decimal(repr(nearest)) != value:
        raise misfit(value, node, f"the nearest it can hold is {nearest!r}")
    return nearest


def _decimal_of_column(node: Node, value: Any) -> Any:
    """A binary number is what its shortest text says."""
    return Decimal(repr(value)) if isinstance(value, float) and math.isfinite(value) else value


def _map_of_column(node: Node, value: Any) -> Any:
    """A map as columns have it: a list of keys and values."""
    if not isinstance(value, list):
        return value
    found = {pair["key"]: pair["value"] for pair in value}
    if len(found) != len(value):
        raise misfit(value, node, "a key comes twice")
    return found


_TEXT: dict[str, Take] = {
    "boolean": _boolean_of_text,
    "int": _whole_of_text,
    "long": _whole_of_text,
    "float": _binary_of_text,
    "double": _binary_of_text,
    "decimal": _number,
    "bytes": _octets,
    "fixed": _octets,
}
_JSON: dict[str, Take] = {
    "float": _binary_of_json,
    "double": _binary_of_json,
    "decimal": _number_or_text,
    "bytes": _octets,
    "fixed": _octets,
}
_COLUMNS: dict[str, Take] = {
    "float": _binary_of_column,
    "double": _binary_of_column,
    "decimal": _decimal_of_column,
    "string": _string_of_column,
    "map": _map_of_column,
}
