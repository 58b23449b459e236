"""A record schema as a list of steps that the vectorised codec can take, field by field over a whole batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from headrace.codec.types import avro_fields

Kind = Literal["boolean", "int", "long", "float", "double", "string", "bytes", "enum", "fixed", "array"]
_KINDS: dict[str, Kind] = {
    "boolean": "boolean",
    "int": "int",
    "long": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "bytes": "bytes",
}
_ITEMS: dict[str, Kind] = {"float": "float", "double": "double"}


@dataclass(frozen=True)
class FieldPlan:
    """How one field is laid out.

    Attributes:
        name: the field.
        kind: its type, logical types taken off.
        null_branch: place of null in its union, or None where it is no union.
        symbols: of an enum.
        size: bytes of a fixed.
        item: type of an array's items.
    """

    name: str
    kind: Kind
    null_branch: int | None = None
    symbols: tuple[str, ...] = ()
    size: int = 0
    item: Kind = "double"


def plan(schema: dict[str, Any]) -> list[FieldPlan] | None:
    """The steps for a record schema, or None where a field's type is off the fast path."""
    steps = [_field(f["name"], f["type"]) for f in avro_fields(schema)]
    return None if any(s is None for s in steps) else [s for s in steps if s is not None]


def _field(name: str, avro: Any) -> FieldPlan | None:
    if isinstance(avro, list):
        if len(avro) != 2 or "null" not in avro:
            return None
        inner = _field(name, avro[1 - avro.index("null")])
        if inner is None or inner.null_branch is not None or inner.kind == "array":
            return None
        return FieldPlan(name, inner.kind, avro.index("null"), inner.symbols, inner.size)
    if isinstance(avro, str):
        return FieldPlan(name, _KINDS[avro]) if avro in _KINDS else None
    kind = avro["type"]
    if kind == "array":
        item = avro["items"]
        return FieldPlan(name, "array", item=_ITEMS[item]) if isinstance(item, str) and item in _ITEMS else None
    if kind == "enum":
        return FieldPlan(name, "enum", symbols=tuple(avro["symbols"]))
    if kind == "fixed":
        return FieldPlan(name, "fixed", size=int(avro["size"]))
    return _field(name, kind)
