"""A Python mapping to the bytes of an Avro record, by a schema compiled once.

Every value is written exactly, or refused with the path of its field: the table of types is in
:mod:`headrace.codec.scalars`. There is no frame here and no I/O; a record of ten fields takes a few microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from headrace.codec.misfit import Misfit, misfit, missing
from headrace.codec.scalars import NATURAL, Encode, plain, scalar_encoder, whole
from headrace.codec.tree import Field, Node, parse
from headrace.codec.types import avro_fields
from headrace.errors import SchemaError

END = b"\0"
"""After the last block of an array or a map."""


def record_encoder(schema: dict[str, Any]) -> Callable[[Mapping[str, Any]], bytes]:
    """The encoder of a record schema: a mapping to the record's Avro body, without a header.

    A missing field takes its default; one that may be null and has no default is null. A field that the schema does
    not have is refused, on every level.

    Raises:
        SchemaError: the schema is no record, holds itself, or has a default that does not fit its type. From the
            encoder: a value does not fit; the message names the field.
    """
    avro_fields(schema)
    encode = _encoder(parse(schema))

    def record(values: Mapping[str, Any]) -> bytes:
        try:
            return encode(values)
        except Misfit as e:
            raise SchemaError(f"event refused: {e}") from None

    return record


def _encoder(node: Node) -> Encode:
    if node.kind == "union":
        return _union(node)
    encode = _present(node)
    if node.null_branch < 0:
        return encode
    null, prefix = whole(node.null_branch), whole(node.branch)
    return lambda value: null if value is None else prefix + encode(value)


def _present(node: Node) -> Encode:
    match node.kind:
        case "record":
            return _record(node)
        case "array":
            return _array(node)
        case "map":
            return _map(node)
    return scalar_encoder(node)


class _Part(NamedTuple):
    """A field of a record: how it is written, and the bytes of its default, if it has one."""

    name: str
    encode: Encode
    default: bytes | None
    node: Node


def _record(node: Node) -> Encode:
    parts = [_Part(f.name, _encoder(f.node), _default(f), f.node) for f in node.fields]
    fields = [(p.name, p.encode) for p in parts]
    names = {p.name for p in parts}

    def encode(value: Any) -> bytes:
        if type(value) is dict and len(value) == len(fields):
            try:
                return b"".join([write(value[name]) for name, write in fields])
            except (KeyError, Misfit):
                pass  # the slow way knows which field it was
        elif not isinstance(value, Mapping):
            raise misfit(value, node)
        return slowly(value)

    def slowly(value: Mapping[str, Any]) -> bytes:
        written = [_field(p, value) for p in parts]
        if unknown := [name for name in value if name not in names]:
            raise Misfit(f"is not in the schema, which has {', '.join(p.name for p in parts)}").inside(str(unknown[0]))
        return b"".join(written)

    return encode


def _field(part: _Part, value: Mapping[str, Any]) -> bytes:
    if part.name not in value:
        if part.default is None:
            raise missing(part.node).inside(part.name)
        return part.default
    try:
        return part.encode(value[part.name])
    except Misfit as e:
        raise e.inside(part.name) from None


def _array(node: Node) -> Encode:
    item = _encoder(node.fields[0].node)

    def encode(value: Any) -> bytes:
        items = value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else value
        if not isinstance(items, list | tuple):
            raise misfit(value, node)
        written = []
        for index, one in enumerate(items):
            try:
                written.append(item(one))
            except Misfit as e:
                raise e.inside(f"[{index}]") from None
        return b"".join([whole(len(items)), *written, END]) if items else END

    return encode


def _map(node: Node) -> Encode:
    key, item = scalar_encoder(node.fields[0].node), _encoder(node.fields[1].node)

    def encode(value: Any) -> bytes:
        if not isinstance(value, Mapping):
            raise misfit(value, node)
        written = []
        for name, one in value.items():
            try:
                written += [key(name), item(one)]
            except Misfit as e:
                raise e.inside(f"[{name!r}]") from None
        return b"".join([whole(len(value)), *written, END]) if written else END

    return encode


class _Branch(NamedTuple):
    prefix: bytes
    encode: Encode
    own: tuple[type, ...]
    node: Node

    def suits(self, kind: type) -> bool:
        """Whether a Python type is this branch's own. A bool is an int to Python, and a datetime a date."""
        if issubclass(kind, bool | datetime):
            return kind in self.own or (kind is not bool and datetime in self.own)
        return issubclass(kind, self.own)


def _union(node: Node) -> Encode:
    """The first branch of the value's own type that takes it; failing that, the first that takes it."""
    own = {"array": (list, tuple, np.ndarray), "map": (Mapping,), "record": (Mapping,)}
    branches = [
        _Branch(whole(place), _present(f.node), own.get(f.node.kind) or NATURAL[f.node.logical or f.node.kind], f.node)
        for place, f in zip(node.branches, node.fields, strict=True)
    ]
    null = whole(node.null_branch) if node.null_branch >= 0 else None

    def encode(value: Any) -> bytes:
        if value is None and null is not None:
            return null
        given = value if isinstance(value, np.float32 | np.datetime64) else plain(value)
        mine = [b for b in branches if b.suits(type(given))]
        for branch in (*mine, *(b for b in branches if b not in mine)):
            try:
                return branch.prefix + branch.encode(given)
            except Misfit as e:
                if mine == [branch]:
                    told = e
        raise told if len(mine) == 1 else misfit(value, node)

    return encode


def _default(f: Field) -> bytes | None:
    """The bytes of a field's default; None: it has none, and may not be null."""
    if not f.has_default:
        return whole(f.node.null_branch) if f.node.null_branch >= 0 else None
    try:
        return _encoder(_bare(f.node))(_from_json(f.node, f.default))
    except Misfit as e:
        raise SchemaError(f"the default of field {f.node.path} {e.reason}") from None


def _bare(node: Node) -> Node:
    """A type without its logical types: defaults are of the types beneath (Avro specification, Complex Types)."""
    return replace(node, logical="", fields=[replace(f, node=_bare(f.node)) for f in node.fields])


def _from_json(node: Node, default: Any) -> Any:
    """A default as JSON has it, as the value it stands for: bytes are text in latin-1 there."""
    if node.kind in ("bytes", "fixed") and isinstance(default, str):
        return default.encode("latin-1")
    if node.kind == "record" and isinstance(default, dict):
        return {f.name: _from_json(f.node, default[f.name]) for f in node.fields if f.name in default}
    if node.kind == "array" and isinstance(default, list):
        return [_from_json(node.fields[0].node, one) for one in default]
    if node.kind == "map" and isinstance(default, dict):
        return {name: _from_json(node.fields[1].node, one) for name, one in default.items()}
    if node.kind == "union":
        fits = [f.node for f in node.fields if f.node.kind in ("bytes", "fixed")]
        return (
            _from_json(fits[0], default)
            if fits and node.branches[0] == 0 and fits[0] is node.fields[0].node
            else default
        )
    return default
