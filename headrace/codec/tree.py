"""An Avro schema as a tree of nodes, and where each node's values lie once decoded.

Values lie in cells of eight bytes, one run of cells a column: integers as they are, floating-point numbers as their
bits, strings as two cells (where they begin in the batch's bytes, how many bytes). An optional value has a byte that
says whether it is there. The rows of the batch are scope 0; the items of each array or map form a scope of
their own, and the array itself holds two cells: its first item and how many.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from headrace.errors import SchemaError
from headrace.schema.own import full_name

Schema = Any
Kind = Literal[
    "null",
    "boolean",
    "int",
    "long",
    "float",
    "double",
    "bytes",
    "string",
    "fixed",
    "enum",
    "array",
    "map",
    "record",
    "union",
]
PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
NARROWEST = {"null": 0, "float": 4, "double": 8}
WIDEST = {"null": 0, "boolean": 1, "int": 5, "long": 10, "float": 4, "double": 8}
CARRIED = {
    "int": ("date", "time-millis"),
    "long": (
        "time-micros",
        "timestamp-millis",
        "timestamp-micros",
        "local-timestamp-millis",
        "local-timestamp-micros",
    ),
    "string": ("uuid",),
    "bytes": ("decimal",),
    "fixed": ("decimal",),
}
"""Avro type -> the logical types whose values are carried as such."""
DEEPEST = 30
"""Arrays within arrays that a schema may have."""


@dataclass(eq=False)
class Node:
    """One type in a schema.

    Attributes:
        kind: Avro type; an optional one is the type itself with ``null_branch`` set.
        path: where it stands in the record, for messages.
        logical: its logical type, or "" where it has none, or one that is not carried (its values are of the type
            beneath then).
        declared: its logical type as the schema has it, carried or not, or "".
        name: full name of a record, enum or fixed.
        aliases: other names of it.
        symbols, default_symbol: of an enum.
        size: bytes of a fixed.
        precision, scale: of a decimal.
        fields: of a record, in order; of an array its item; of a map its key and its value; of a union its branches
            but null.
        branches: of a union, the place of each of ``fields`` in it.
        null_branch, branch: of an optional type or a union: the place of null, and of the type itself.
        column, flag, scope: where its cells and its presence byte lie; -1 where it has none.
        item_scope: of an array or map.
    """

    kind: Kind
    path: str
    logical: str = ""
    declared: str = ""
    name: str = ""
    aliases: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    default_symbol: str | None = None
    size: int = 0
    precision: int = 0
    scale: int = 0
    fields: list[Field] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    null_branch: int = -1
    branch: int = -1
    column: int = -1
    flag: int = -1
    scope: int = 0
    item_scope: int = -1

    @property
    def narrowest(self) -> int:
        """Fewest bytes a value takes."""
        if self.null_branch >= 0 or self.kind == "union":
            return 1
        if self.kind == "record":
            return sum(f.node.narrowest for f in self.fields)
        return self.size if self.kind == "fixed" else NARROWEST.get(self.kind, 1)


@dataclass(eq=False)
class Field:
    """A field of a record (or the item of an array, a branch of a union)."""

    name: str
    node: Node
    schema: Schema
    aliases: tuple[str, ...] = ()
    has_default: bool = False
    default: Any = None


def parse(schema: Schema, path: str = "") -> Node:
    """The tree of a schema.

    Raises:
        SchemaError: it is no Avro schema, it is recursive, or a union holds a union.
    """
    return _Parser().node(schema, path, "", ())


class _Parser:
    def __init__(self) -> None:
        self._named: dict[str, Schema] = {}

    def node(self, schema: Schema, path: str, space: str, inside: tuple[str, ...]) -> Node:
        if isinstance(schema, list):
            return self._union(schema, path, space, inside)
        if isinstance(schema, str):
            if schema in PRIMITIVES:
                return Node(schema, path)  # type: ignore[arg-type]
            full = schema if schema in self._named else f"{space}.{schema}"
            if full not in self._named:
                raise SchemaError(f"{path or 'the schema'}: unknown type {schema!r}")
            return self._known(self._named[full], path, full, inside)
        if not isinstance(schema, dict) or "type" not in schema:
            raise SchemaError(f"{path or 'the schema'}: {schema!r} is no Avro type")
        kind = schema["type"]
        if kind in ("record", "enum", "fixed", "error"):
            full = full_name(schema, space)
            self._named[full] = schema
            return self._known(schema, path, full, inside)
        if kind in ("array", "map"):
            item = self.node(schema["items" if kind == "array" else "values"], f"{path}[]", space, inside)
            fields = [Field("item", item, schema.get("items"))]
            if kind == "map":
                fields = [Field("key", Node("string", f"{path}[]"), "string"), Field("value", item, schema["values"])]
            return Node(kind, path, fields=fields)
        return _logical(self.node(kind, path, space, inside), schema)

    def _known(self, schema: Schema, path: str, full: str, inside: tuple[str, ...]) -> Node:
        if full in inside:
            raise SchemaError(f"{path}: {full} holds itself; recursive types are not carried")
        space = full.rpartition(".")[0]
        aliases = tuple(a if "." in a else f"{space}.{a}".lstrip(".") for a in schema.get("aliases", ()))
        match schema["type"]:
            case "enum":
                symbols = tuple(schema["symbols"])
                return Node(
                    "enum", path, name=full, aliases=aliases, symbols=symbols, default_symbol=schema.get("default")
                )
            case "fixed":
                return _logical(Node("fixed", path, name=full, aliases=aliases, size=int(schema["size"])), schema)
        node = Node("record", path, name=full, aliases=aliases)
        for f in schema["fields"]:
            where = f"{path}.{f['name']}" if path else f["name"]
            child = self.node(f["type"], where, space, (*inside, full))
            node.fields.append(
                Field(f["name"], child, f["type"], tuple(f.get("aliases", ())), "default" in f, f.get("default"))
            )
        return node

    def _union(self, schema: list[Schema], path: str, space: str, inside: tuple[str, ...]) -> Node:
        nodes = [self.node(s, path, space, inside) for s in schema]
        if any(n.kind == "union" or n.null_branch >= 0 for n in nodes):
            raise SchemaError(f"{path}: a union in a union is no Avro")
        nulls = [i for i, n in enumerate(nodes) if n.kind == "null"]
        others = [i for i, n in enumerate(nodes) if n.kind != "null"]
        null = nulls[0] if nulls else -1
        if null >= 0 and len(others) == 1:
            return replace(nodes[others[0]], null_branch=null, branch=others[0])
        members = [Field(f"member{k}", nodes[i], schema[i]) for k, i in enumerate(others)]
        return Node("union", path, fields=members, branches=others, null_branch=null)


def _logical(node: Node, schema: Schema) -> Node:
    logical = schema.get("logicalType", "")
    precision, scale = int(schema.get("precision", 0)), int(schema.get("scale", 0))
    carried = logical in CARRIED.get(node.kind, ())
    if (
        not carried
        and any(logical in kinds for kinds in CARRIED.values())
        and (node.kind, logical) != ("fixed", "uuid")
    ):
        return node  # no logical type of this type: to be ignored (Avro specification, Logical Types)
    if not carried:
        return replace(node, declared=logical or node.declared)
    if logical == "decimal" and not 0 < precision <= 38:
        raise SchemaError(f"{node.path}: a decimal has 1 to 38 digits here, not {precision}")
    return replace(node, logical=logical, declared=logical, precision=precision, scale=scale)


@dataclass(eq=False)
class Layout:
    """Where the values of a record schema lie: its tree with places given, and the scope of each column and flag."""

    root: Node
    columns: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    scopes: int = 1

    @classmethod
    def of(cls, schema: Schema) -> Layout:
        """The layout of a record schema."""
        root = parse(schema)
        if root.kind != "record":
            raise SchemaError("the schema must be an Avro record: {'type': 'record', 'name': ..., 'fields': [...]}")
        layout = cls(root)
        layout._place(root, 0, 0)
        return layout

    @classmethod
    def of_fields(cls, schema: Schema, names: Container[str]) -> Layout:
        """The layout of some of a record's fields, in their order."""
        root = parse(schema)
        layout = cls(replace(root, fields=[f for f in root.fields if f.name in names]))
        layout._place(layout.root, 0, 0)
        return layout

    def _place(self, node: Node, scope: int, depth: int, member: bool = False) -> None:
        if depth > DEEPEST:
            raise SchemaError(f"{node.path}: arrays lie more than {DEEPEST} deep")
        node.scope = scope
        if (node.null_branch >= 0 and node.kind != "union") or member:
            node.flag = len(self.flags)
            self.flags.append(scope)
        width = {"null": 0, "record": 0, "union": 0, "array": 2, "map": 2, "bytes": 2, "string": 2, "fixed": 2}
        cells = width.get(node.kind, 1)
        if cells:
            node.column = len(self.columns)
            self.columns += [scope] * cells
        inner = scope
        if node.kind in ("array", "map"):
            inner = node.item_scope = self.scopes
            self.scopes += 1
        for f in node.fields:
            self._place(f.node, inner, depth + (inner != scope), member=node.kind == "union")
