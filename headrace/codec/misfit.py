"""Why a value does not fit its field: the reason, the path to the field, and the value as a person reads it."""

from __future__ import annotations

import json
import re
from typing import Any

from headrace.codec.tree import Node

LONGEST_SHOWN = 60
"""Characters of a value that a message shows."""
_WORDS = {
    "date": "a date",
    "time-millis": "a time of day in milliseconds",
    "time-micros": "a time of day in microseconds",
    "timestamp-millis": "a time in milliseconds",
    "timestamp-micros": "a time in microseconds",
    "local-timestamp-millis": "a local time in milliseconds",
    "local-timestamp-micros": "a local time in microseconds",
    "uuid": "a UUID",
}


_NOTHING = object()


class Misfit(Exception):
    """A value that its field does not take.

    Args:
        told: what is wrong, without the path and the value.
        value: the value, if there is one to show.

    Attributes:
        typed: whether a message names the value's Python type, which says nothing to those who sent a file.
    """

    def __init__(self, told: str, value: object = _NOTHING) -> None:
        super().__init__(told)
        self.path = ""
        self.typed = True
        self._told = told
        self._value = value

    @property
    def reason(self) -> str:
        """What is wrong, without the path."""
        return self._told if self._value is _NOTHING else f"is {shown(self._value, typed=self.typed)}, {self._told}"

    @property
    def kind(self) -> str:
        """What is wrong without the value and its index: the same for all values of one kind of fault."""
        path = re.sub(r"\[[^\]]*\]", "[]", self.path)
        return f"{f'field {path}' if path else 'the event'}: {self._told}"

    def inside(self, step: str) -> Misfit:
        """The same, one level further out: ``step`` is a field's name, or an index in brackets."""
        joint = "." if self.path and not self.path.startswith("[") else ""
        self.path = f"{step}{joint}{self.path}"
        return self

    def __str__(self) -> str:
        return f"field {self.path} {self.reason}" if self.path else f"the event {self.reason}"


def misfit(value: object, node: Node, why: str = "") -> Misfit:
    """The refusal of a value by its field's type; ``why`` says more where the type alone does not tell."""
    if value is None:
        return Misfit(f"is missing: it is null, and the schema asks for {expected(node)}")
    return Misfit(f"not {expected(node)}{': ' if why else ''}{why}", value)


def missing(node: Node) -> Misfit:
    """The refusal of a record that lacks a field which has no default."""
    return Misfit(f"is missing, and has no default: the schema asks for {expected(node)}")


def expected(node: Node) -> str:
    """The type of a field in words, with its article."""
    if node.logical == "decimal":
        return f"a decimal of {node.precision} digits, {node.scale} after the point"
    match node.kind:
        case "union":
            return " or ".join(expected(f.node) for f in node.fields)
        case "enum":
            return f"one of {', '.join(node.symbols)}"
        case "fixed":
            return f"{node.size} bytes"
        case "bytes" | "null":
            return node.kind
        case "record":
            return f"a record ({node.name.rpartition('.')[2]})"
    return _WORDS.get(node.logical) or f"{'an' if node.kind[0] in 'aeiou' else 'a'} {node.kind}"


def shown(value: object, *, typed: bool = True) -> str:
    """A value: short text and numbers as they are, of the rest the type alone.

    ``typed``: with the name of its Python type; without, as JSON calls it.
    """
    name = type(value).__name__ if typed else _JSON_NAMES.get(type(value), type(value).__name__)
    behind = f" ({name})" if typed else ""
    if isinstance(value, str):
        cut = json.dumps(str(value[:LONGEST_SHOWN]), ensure_ascii=False).encode(errors="backslashreplace").decode()
        return f"{cut}{'...' if len(value) > LONGEST_SHOWN else ''}{behind}"
    if isinstance(value, bytes | bytearray | memoryview | list | tuple | dict | set | frozenset):
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name} of {len(value)}"
    if not typed and isinstance(value, bool):
        return str(value).lower()
    return f"{_brief(value)}{behind}"


_JSON_NAMES: dict[type, str] = {dict: "object", list: "array", tuple: "array"}


def _brief(value: Any) -> str:
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a value's own code, or an int too long to be written
        return "a value"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
