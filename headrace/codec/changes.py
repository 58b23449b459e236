"""What differs between two versions of a record's schema, as plain data: field by field, and who can read what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from headrace.codec.decoder import fits, named
from headrace.codec.meaning import conversion, said
from headrace.codec.tree import Field, Node, parse

What = Literal["added", "removed", "renamed", "type", "values", "symbols", "default"]
NO_DEFAULT = "the field has no default"


@dataclass(frozen=True)
class Change:
    """A difference at one field.

    Attributes:
        field: path of the field in the new schema, or in the old one where it was removed.
        what: ``values``: the type beneath is the same, and its values mean something else (a scale, a unit).
        old, new: the field's type, its symbols or its default before and after; "" where it has none.
        old_records: why the new schema does not read records of the old one, or not all; "": it does.
        new_records: why the old schema does not read records of the new one, or not all; "": it does.
    """

    field: str
    what: What
    old: str
    new: str
    old_records: str = ""
    new_records: str = ""

    def plain(self) -> dict[str, str]:
        """The change as JSON has it."""
        return asdict(self)


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The differences between two schemas of a record, in the order of the new one's fields.

    Raises:
        SchemaError: one of them is no schema.
    """
    return list(_records(parse(old), parse(new)))


def _records(old: Node, new: Node) -> Iterator[Change]:
    if old.name != new.name and old.path == "":
        yield Change("", "renamed", old.name, new.name)
    sources = {id(target): f for f in old.fields if (target := named(f.name, new)) is not None}
    for f in new.fields:
        before = sources.get(id(f))
        if before is None:
            why = "" if f.has_default else NO_DEFAULT
            yield Change(f.node.path, "added", "", _shown(f.node), old_records=why)
            continue
        if before.name != f.name:
            unread = "" if before.has_default else f"it does not have {before.name}"
            yield Change(f.node.path, "renamed", before.name, f.name, new_records=unread)
        yield from _values(before.node, f.node)
        if (before.has_default, before.default) != (f.has_default, f.default):
            yield Change(f.node.path, "default", _default(before), _default(f))
    for f in old.fields:
        if named(f.name, new) is None:
            why = "" if f.has_default else NO_DEFAULT
            yield Change(f.node.path, "removed", _shown(f.node), "", new_records=why)


def _values(old: Node, new: Node) -> Iterator[Change]:
    if "union" in (old.kind, new.kind) or (old.null_branch < 0) != (new.null_branch < 0):
        if _shown(old) != _shown(new):
            yield Change(new.path, "type", _shown(old), _shown(new), _unread(old, new), _unread(new, old))
        for mine, theirs in _read_as(old, new):
            yield from (c for c in _present(mine, theirs) if c.what == "values")
    else:
        yield from _present(old, new)


def _present(old: Node, new: Node) -> Iterator[Change]:
    """The changes of a type, apart from whether it may be null."""
    match new.kind:
        case "record" if old.kind == "record":
            yield from _records(old, new)
        case "array" | "map" if old.kind == new.kind:
            yield from _values(old.fields[-1].node, new.fields[-1].node)
        case "enum" if old.kind == "enum" and old.symbols != new.symbols:
            lost, gained = (set(a.symbols) - set(b.symbols) for a, b in ((old, new), (new, old)))
            yield Change(
                new.path,
                "symbols",
                ", ".join(old.symbols),
                ", ".join(new.symbols),
                f"it does not have {', '.join(sorted(lost))}" if lost and new.default_symbol is None else "",
                f"it does not have {', '.join(sorted(gained))}" if gained and old.default_symbol is None else "",
            )
        case _ if _otherwise(old, new):
            yield Change(new.path, "values", said(old), said(new), _unread(old, new), _unread(new, old))
        case _ if (old.kind, old.size, said(old)) != (new.kind, new.size, said(new)):
            yield Change(new.path, "type", _shown(old), _shown(new), _unread(old, new), _unread(new, old))


def _read_as(old: Node, new: Node) -> Iterator[tuple[Node, Node]]:
    """Each branch of the old type but null, and the new one's branch that its values are read as."""
    for mine in _branches(old):
        taking = [b for b in _branches(new) if fits(mine, b)]
        if taking:
            yield mine, next((b for b in taking if b.kind == mine.kind), taking[0])


def _branches(node: Node) -> list[Node]:
    return [f.node for f in node.fields] if node.kind == "union" else [replace(node, null_branch=-1)]


def _otherwise(old: Node, new: Node) -> bool:
    """Whether a reader that passes over logical types would take a value for another one."""
    if not old.declared or not new.declared:
        return False
    return old.declared != new.declared or old.scale != new.scale


def _unread(writer: Node, reader: Node) -> str:
    """Why a reader's type does not take every value of a writer's; "": it does."""
    branches = _branches(reader)
    for mine in _branches(writer):
        taking = [b for b in branches if fits(mine, b)]
        if not taking:
            return f"{said(mine)} is not read as {' or '.join(map(said, branches))}"
        if all(conversion(mine, b) == "other" for b in taking):
            return f"{said(mine)} means something else than {' or '.join(map(said, taking))}"
    return "null is not taken" if writer.null_branch >= 0 and reader.null_branch < 0 else ""


def _shown(node: Node) -> str:
    """A type as people read it."""
    if node.kind == "union":
        kinds = [_shown(f.node) for f in node.fields]
        return " | ".join((["null"] if node.null_branch >= 0 else []) + kinds)
    inner = f"{node.kind} of {_shown(node.fields[-1].node)}" if node.kind in ("array", "map") else said(node)
    if node.kind in ("record", "enum", "fixed") and not node.declared:
        inner = node.name if node.kind != "fixed" else f"{node.name} ({node.size} bytes)"
    return f"{inner} | null" if node.null_branch >= 0 else inner


def _default(f: Field) -> str:
    return json.dumps(f.default) if f.has_default else ""
