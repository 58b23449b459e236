"""The default of a field, from the JSON that a schema has it in to the bytes of a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headrace.codec.misfit import Misfit, misfit, missing
from headrace.codec.scalars import scalar_encoder, sized, whole
from headrace.codec.tree import Field, Node
from headrace.errors import SchemaError

END = b"\0"
"""After the last block of an array or a map."""


def default_bytes(f: Field) -> bytes | None:
    """A field's default as Avro bytes; None: it has none.

    A default of a union is of the first branch that takes it: so the specification has it since 1.12, and the first
    branch alone, as it had it before, is the same wherever that was kept to.

    Raises:
        SchemaError: it does not fit the field's type.
    """
    if not f.has_default:
        return None
    try:
        return _value(f.node, f.default)
    except Misfit as e:
        path = f"{f.node.path}.{e.path}" if e.path else f.node.path
        raise SchemaError(f"the default of field {path} {e.reason}") from None


def _value(node: Node, default: Any) -> bytes:
    if node.kind != "union" and node.null_branch < 0:
        return _present(node, default)
    if default is None and node.null_branch >= 0:
        return whole(node.null_branch)
    branches = (
        [(node.branch, node)]
        if node.kind != "union"
        else list(zip(node.branches, (f.node for f in node.fields), strict=True))
    )
    refusals = []
    for index, branch in branches:
        try:
            return whole(index) + _present(branch, default)
        except Misfit as e:
            refusals.append(e)
    raise refusals[0] if len(refusals) == 1 else misfit(default, node)


def _present(node: Node, default: Any) -> bytes:
    match node.kind:
        case "record":
            return _record(node, default)
        case "array":
            if not isinstance(default, list):
                raise misfit(default, node)
            written = [_inside(f"[{i}]", node.fields[0].node, one) for i, one in enumerate(default)]
            return b"".join([whole(len(written)), *written, END]) if written else END
        case "map":
            if not isinstance(default, dict):
                raise misfit(default, node)
            written = [sized(k.encode()) + _inside(f"[{k!r}]", node.fields[1].node, v) for k, v in default.items()]
            return b"".join([whole(len(written)), *written, END]) if written else END
        case "bytes" | "fixed":
            return _octets(node, default)
    # Defaults are of the types beneath logical types (Avro specification, Complex Types).
    return scalar_encoder(replace(node, logical=""))(default)


def _record(node: Node, default: Any) -> bytes:
    if not isinstance(default, Mapping):
        raise misfit(default, node)
    if more := default.keys() - {f.name for f in node.fields}:
        raise Misfit("is not in its record").inside(min(more))
    written = []
    for f in node.fields:
        if f.name in default:
            written.append(_inside(f.name, f.node, default[f.name]))
        elif f.has_default:
            written.append(_inside(f.name, f.node, f.default))
        else:
            raise missing(f.node).inside(f.name)
    return b"".join(written)


def _inside(step: str, node: Node, default: Any) -> bytes:
    try:
        return _value(node, default)
    except Misfit as e:
        raise e.inside(step) from None


def _octets(node: Node, default: Any) -> bytes:
    """Bytes, which JSON has as text, a character a byte."""
    try:
        held = default.encode("latin-1")
    except (AttributeError, UnicodeEncodeError):
        raise misfit(default, node) from None
    if node.kind == "fixed" and len(held) != node.size:
        raise misfit(default, node)
    return held if node.kind == "fixed" else sized(held)
