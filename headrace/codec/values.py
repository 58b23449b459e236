"""A Python mapping to the bytes of an Avro record, by a schema compiled once.

Every value is written exactly, or refused with the path of its field: the table of types is in
:mod:`headrace.codec.scalars`. There is no frame here and no I/O; a record of ten fields takes a few microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from headrace.codec.defaults import END, default_bytes
from headrace.codec.forms import PYTHON, Form
from headrace.codec.misfit import Misfit, misfit, missing
from headrace.codec.numbers import plain
from headrace.codec.scalars import NATURAL, Encode, scalar_encoder, whole
from headrace.codec.tree import Field, Node, parse
from headrace.codec.types import avro_fields
from headrace.errors import SchemaError

Unknown = Callable[[str], None]
"""Told the path of a field that a value has and its record does not."""


def record_encoder(schema: dict[str, Any]) -> Callable[[Mapping[str, Any]], bytes]:
    """The encoder of a record schema: a mapping to the record's Avro body, without a header.

    A missing field takes its default; one that may be null and has no default is null. A field that the schema does
    not have is refused, on every level.

    Raises:
        SchemaError: the schema is no record, holds itself, or has a default that does not fit its type. From the
            encoder: a value does not fit; the message names the field.
    """
    encode = form_encoder(schema, PYTHON)

    def record(values: Mapping[str, Any]) -> bytes:
        try:
            return encode(values)
        except Misfit as e:
            raise SchemaError(f"event refused: {e}") from None

    return record


def form_encoder(schema: dict[str, Any], form: Form, unknown: Unknown | None = None) -> Callable[[Any], bytes]:
    """The encoder of a record schema for values of a form.

    Args:
        schema: of the records.
        form: what the values look like.
        unknown: told of fields that a record does not have, which are passed over; None: such a record is refused.

    Raises:
        SchemaError: as :func:`record_encoder`. The encoder raises Misfit where a value does not fit.
    """
    avro_fields(schema)
    encode = _Compiler(form, unknown).encoder(parse(schema))
    if form.typed:
        return encode

    def record(value: Any) -> bytes:
        try:
            return encode(value)
        except Misfit as e:
            e.typed = False
            raise

    return record


class FieldEncoder(NamedTuple):
    """A field of a record: how it is written, and the bytes of its default, if it has one."""

    name: str
    encode: Encode
    default: bytes | None
    node: Node


def field_encoders(schema: dict[str, Any], form: Form, unknown: Unknown | None = None) -> dict[str, FieldEncoder]:
    """The encoders of each field of a record, as :func:`form_encoder` puts them together."""
    compiler = _Compiler(form, unknown)
    return {f.name: FieldEncoder(f.name, compiler.encoder(f.node), _missing(f), f.node) for f in parse(schema).fields}


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


class _Compiler:
    """Makes the encoders of one form's values."""

    def __init__(self, form: Form, unknown: Unknown | None) -> None:
        self._form = form
        self._unknown = unknown

    def encoder(self, node: Node) -> Encode:
        """The encoder of a type, null included where it may be null."""
        if node.kind == "union":
            return self._union(node)
        encode = self._present(node)
        if node.null_branch < 0:
            return encode
        null, prefix = whole(node.null_branch), whole(node.branch)
        if self._form.empty_is_null:
            return lambda value: prefix + encode(value) if value else null
        return lambda value: null if value is None else prefix + encode(value)

    def _present(self, node: Node) -> Encode:
        encode = self._plain(node)
        take = self._form.take(node)
        return encode if take is None else lambda value: encode(take(node, value) if value is not None else None)

    def _plain(self, node: Node) -> Encode:
        match node.kind:
            case "record" | "array" | "map" if node.path and not self._form.nested:
                return partial(_not_nested, node, self._form)
            case "record":
                return self._record(node)
            case "array":
                return self._array(node)
            case "map":
                return self._map(node)
        return scalar_encoder(node)

    def _record(self, node: Node) -> Encode:
        parts = [FieldEncoder(f.name, self.encoder(f.node), _missing(f), f.node) for f in node.fields]
        fields = [(p.name, p.encode) for p in parts]
        names = {p.name for p in parts}
        unknown = self._unknown

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
            for name in value:
                if name in names:
                    continue
                if unknown is None:
                    told = f"is not in the schema, which has {', '.join(p.name for p in parts)}"
                    raise Misfit(told).inside(str(name))
                unknown(f"{node.path}.{name}" if node.path else name)
            return b"".join(written)

        return encode

    def _array(self, node: Node) -> Encode:
        item = self.encoder(node.fields[0].node)

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

    def _map(self, node: Node) -> Encode:
        key, item = scalar_encoder(node.fields[0].node), self.encoder(node.fields[1].node)

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

    def _union(self, node: Node) -> Encode:
        """The first branch of the value's own type that takes it; failing that, the first that takes it."""
        own = {"array": (list, tuple, np.ndarray), "map": (Mapping,), "record": (Mapping,)}
        # Which record of several a value is shows in its names: none is passed over.
        strict = _Compiler(self._form, None)
        branches = [
            _Branch(
                whole(index),
                strict._present(f.node),
                own.get(f.node.kind) or NATURAL[f.node.logical or f.node.kind],
                f.node,
            )
            for index, f in zip(node.branches, node.fields, strict=True)
        ]
        null = whole(node.null_branch) if node.null_branch >= 0 else None
        form, members = self._form, {f.name for f in node.fields}

        def encode(value: Any) -> bytes:
            if null is not None and (value is None or (value == "" and form.empty_is_null)):
                return null
            if form.members and isinstance(value, dict) and value.keys() == members:
                held = [i for i, name in enumerate(value) if value[name] is not None]
                if len(held) != 1:
                    raise misfit(value, node, "one branch of it must have a value")
                return branches[held[0]].prefix + branches[held[0]].encode(value[f"member{held[0]}"])
            given = value if isinstance(value, np.float32 | np.datetime64) else plain(value)
            kind = float if type(given) is Decimal and not form.typed else type(given)
            mine = [b for b in branches if b.suits(kind)]
            for branch in (*mine, *(b for b in branches if b not in mine)):
                try:
                    return branch.prefix + branch.encode(given)
                except Misfit as e:
                    if mine == [branch]:
                        told = e
            raise told if len(mine) == 1 else misfit(value, node)

        return encode


def _field(part: FieldEncoder, value: Mapping[str, Any]) -> bytes:
    if part.name not in value:
        if part.default is None:
            raise missing(part.node).inside(part.name)
        return part.default
    try:
        return part.encode(value[part.name])
    except Misfit as e:
        raise e.inside(part.name) from None


def _missing(f: Field) -> bytes | None:
    """What stands for a field that a record lacks: its default, or null; None: nothing may."""
    return default_bytes(f) if f.has_default else _absent(f.node)


def _absent(node: Node) -> bytes | None:
    """What stands for a field that a value lacks and that has no default: null, where it may be null."""
    return whole(node.null_branch) if node.null_branch >= 0 else None


def _not_nested(node: Node, form: Form, value: Any) -> bytes:
    raise misfit(value, node, f"{form.name} has no value of this type; use JSON lines, Parquet or Avro")
