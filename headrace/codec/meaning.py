"""What a value of the writer's logical type is to the reader: the same, another unit or scale of it, or another thing.

Avro lets a reader take a value by the type beneath and pass over the logical type. Where both schemas declare one, that
would turn milliseconds into microseconds and a price into a tenth of it; so such values are converted, exactly, or
refused. Where one side alone declares one, the number or text itself is what both mean.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from headrace.codec.tree import Node

_NANOSECONDS = {
    f"{family}-{unit}": (family, nanoseconds)
    for family in ("time", "timestamp", "local-timestamp")
    for unit, nanoseconds in (("millis", 1_000_000), ("micros", 1_000), ("nanos", 1))
}
"""Logical type -> what it counts, and the nanoseconds of one."""


class Scaling(NamedTuple):
    """The reader's number is the writer's, ``times`` over ``per``; one of the two is 1."""

    times: int
    per: int


class Digits(NamedTuple):
    """The reader's decimal has so many more digits after the point (below 0: fewer)."""

    more: int


def conversion(writer: Node, reader: Node) -> Scaling | Digits | Literal["same", "other"]:
    """How a value of the writer's type becomes one of the reader's; types that Avro lets be read one as the other."""
    if "decimal" in (writer.logical, reader.logical):
        if writer.kind != reader.kind:
            return "other"  # its bytes are a number, no text
        if reader.logical == "decimal" and writer.declared in ("decimal", ""):
            return Digits(reader.scale - writer.scale if writer.declared else 0)
        return "same" if not reader.declared else "other"
    if writer.declared == reader.declared or not writer.declared or not reader.declared:
        return "same"
    mine, theirs = _NANOSECONDS.get(writer.declared), _NANOSECONDS.get(reader.declared)
    if mine is None or theirs is None or mine[0] != theirs[0]:
        return "other"
    return Scaling(max(1, mine[1] // theirs[1]), max(1, theirs[1] // mine[1]))


def said(node: Node) -> str:
    """A type with its logical type, as people read it."""
    if node.logical == "decimal":
        return f"decimal({node.precision}, {node.scale})"
    return node.declared or node.kind
