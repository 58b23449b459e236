"""A schema that names types of other subjects, made one that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.schema.own import full_name

_NAMED = ("record", "error", "enum", "fixed")


def inlined(schema: Any, referenced: Sequence[Any]) -> Any:
    """``schema`` with each type that it names and does not define put in where it is first named.

    Args:
        schema: an Avro schema.
        referenced: schemas that define such types, their own references already put in.
    """
    if not referenced:
        return schema
    found: dict[str, Any] = {}
    for other in referenced:
        _collect(other, "", found)
    return _Inliner(found).schema(schema, "")


def _collect(schema: Any, space: str, found: dict[str, Any]) -> None:
    """Every named type that a schema defines, by its full name, with its namespace written out."""
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, space, found)
    if not isinstance(schema, dict):
        return
    if schema["type"] in _NAMED:
        name = full_name(schema, space)
        space, _, short = name.rpartition(".")
        found.setdefault(name, {**schema, "name": short, "namespace": space})
    for part in ("type", "items", "values"):
        _collect(schema.get(part), space, found)
    for field in schema.get("fields", ()):
        _collect(field["type"], space, found)


class _Inliner:
    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found
        self._defined: set[str] = set()

    def schema(self, schema: Any, space: str) -> Any:
        if isinstance(schema, list):
            return [self.schema(branch, space) for branch in schema]
        if isinstance(schema, str):
            return self._name(schema, space)
        if not isinstance(schema, dict):
            return schema
        if schema.get("type") in _NAMED:
            name = full_name(schema, space)
            if name in self._defined:
                return name
            self._defined.add(name)
            space = name.rpartition(".")[0]
        made = {k: self.schema(v, space) if k in ("type", "items", "values") else v for k, v in schema.items()}
        if "fields" in made:
            made["fields"] = [{**f, "type": self.schema(f["type"], space)} for f in schema["fields"]]
        return made

    def _name(self, name: str, space: str) -> Any:
        for full in (name, f"{space}.{name}"):
            if full in self._defined:
                return name
            if full in self._found:
                return self.schema(self._found[full], "")
        return name
