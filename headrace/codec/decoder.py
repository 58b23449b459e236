"""From a writer's schema and a reader's layout to the program that decodes the one into the other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from headrace.codec import ops
from headrace.codec.defaults import default_bytes
from headrace.codec.meaning import Digits, Scaling, conversion, said
from headrace.codec.tree import Field, Layout, Node, Schema, parse
from headrace.errors import SchemaError

PROMOTED = {
    ("int", "long"): ops.INT,
    ("int", "float"): ops.LONG_TO_FLOAT,
    ("int", "double"): ops.LONG_TO_DOUBLE,
    ("long", "float"): ops.LONG_TO_FLOAT,
    ("long", "double"): ops.LONG_TO_DOUBLE,
    ("float", "double"): ops.FLOAT_TO_DOUBLE,
    ("string", "bytes"): ops.BYTES,
    ("bytes", "string"): ops.STRING,
}
PLAIN = {
    "boolean": ops.BOOLEAN,
    "int": ops.INT,
    "long": ops.LONG,
    "float": ops.FLOAT,
    "double": ops.DOUBLE,
    "bytes": ops.BYTES,
    "string": ops.STRING,
}


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled pair of schemas.

    Attributes:
        rows: int64 (m, 7), see :mod:`headrace.codec.ops`.
        tables: int64, jumps of unions and symbols of enums.
        defaults: Avro bytes of the reader's defaults.
        narrowest: for each scope, the fewest bytes one of its rows takes.
        paths: names of fields, for messages.
        made: scopes of the decimals that are written anew, in the reader's scale.
    """

    rows: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    tables: np.ndarray[tuple[int], np.dtype[np.int64]]
    defaults: bytes
    narrowest: list[int]
    paths: list[str]
    made: list[int]


def compile_decoder(writer: Schema, layout: Layout) -> Program:
    """The program that reads records written with ``writer`` into ``layout``.

    Raises:
        SchemaError: the writer's records cannot be read with the reader's schema, or it is recursive.
    """
    compiler = _Compiler(layout.scopes)
    compiler.plain(parse(writer), layout.root)
    compiler.emit(ops.END, None, path="")
    return compiler.program()


def compile_default(f: Field, layout: Layout) -> Program:
    """The program that gives a field its default, from no bytes at all."""
    compiler = _Compiler(layout.scopes)
    compiler.default(f)
    compiler.emit(ops.END, None, path="")
    return compiler.program()


@dataclass
class _Compiler:
    scopes: int
    rows: list[list[int]] = field(default_factory=list)
    tables: list[int] = field(default_factory=list)
    defaults: bytearray = field(default_factory=bytearray)
    paths: list[str] = field(default_factory=list)
    narrowest: list[int] = field(default_factory=list)
    made: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.narrowest = [1] * self.scopes

    def program(self) -> Program:
        rows = np.array(self.rows, dtype=np.int64)
        return Program(
            rows,
            np.array(self.tables or [0], dtype=np.int64),
            bytes(self.defaults),
            self.narrowest,
            self.paths,
            self.made,
        )

    def emit(self, op: int, reader: Node | None, a: int = 0, b: int = 0, c: int = 0, path: str = "") -> int:
        """Add an operation; gives its place."""
        if not self.paths or self.paths[-1] != path:
            self.paths.append(path)
        column, scope = (reader.column, reader.scope) if reader is not None else (-1, 0)
        self.rows.append([op, column, scope, a, b, c, len(self.paths) - 1])
        return len(self.rows) - 1

    def value(self, writer: Node, reader: Node | None) -> None:
        """Read a value of any type."""
        if writer.kind == "union" or writer.null_branch >= 0:
            self._union(writer, reader)
        else:
            self._taken(writer, reader)

    def _union(self, writer: Node, reader: Node | None) -> None:
        branches: dict[int, Node] = {}
        if writer.null_branch >= 0:
            branches[writer.null_branch] = Node("null", writer.path)
        if writer.kind == "union":
            branches |= {place: f.node for place, f in zip(writer.branches, writer.fields, strict=True)}
        else:
            branches[writer.branch] = writer
        jumps = len(self.tables)
        self.tables += [0] * len(branches)
        self.emit(ops.UNION, None, jumps, len(branches), path=writer.path)
        ends = []
        for place, branch in sorted(branches.items()):
            self.tables[jumps + place] = len(self.rows)
            self._taken(branch, reader)
            ends.append(self.emit(ops.JUMP, None, path=writer.path))
        for end in ends:
            self.rows[end][ops.A] = len(self.rows)

    def _taken(self, writer: Node, reader: Node | None) -> None:
        """Read a value that is no union into whatever the reader has for it."""
        if reader is None:
            self.plain(writer, None)
            return
        if writer.kind == "null":
            if not (reader.null_branch >= 0 or reader.kind == "null"):
                self.emit(ops.REFUSE, None, ops.NO_PLACE, path=writer.path)
            return
        target = _member(writer, reader) if reader.kind == "union" else reader if fits(writer, reader) else None
        if target is None:
            self.emit(ops.REFUSE, None, ops.NO_PLACE, path=writer.path)
            return
        if target.flag >= 0:
            self._present(target)
        self.plain(writer, target)

    def _present(self, node: Node) -> None:
        at = self.emit(ops.PRESENT, None, node.flag, path=node.path)
        self.rows[at][ops.SCOPE] = node.scope

    def plain(self, writer: Node, reader: Node | None) -> None:
        """Read a value of a type that is no union and that the reader takes; ``reader`` None: step over it."""
        kind, path = writer.kind, writer.path
        if reader is not None and self._converted(writer, reader):
            return
        match kind:
            case "null":
                return
            case "record":
                self._record(writer, reader)
            case "array" | "map":
                self._list(writer, reader)
            case "enum":
                self._enum(writer, reader)
            case "fixed":
                self.emit(ops.FIXED, reader, writer.size, path=path)
            case "double" if self._one_more_double(reader, path):
                return
            case _ if reader is None or reader.kind == kind:
                self.emit(PLAIN[kind], reader, path=path)
            case _:
                self.emit(PROMOTED[kind, reader.kind], reader, int(kind == "int"), path=_both(writer, reader))

    def _converted(self, writer: Node, reader: Node) -> bool:
        """Read a value whose logical type says that it is not what its bytes are to the reader; whether it is one."""
        match conversion(writer, reader):
            case "same":
                return False
            case "other":
                self.emit(ops.REFUSE, None, ops.OTHER_MEANING, path=_both(writer, reader))
            case Scaling(times, per):
                self.emit(ops.SCALE, reader, times, per, int(writer.kind == "int"), path=_both(writer, reader))
            case Digits(more):
                size = writer.size if writer.kind == "fixed" else -1
                path = _both(writer, reader) if more else writer.path
                self.emit(ops.DECIMAL, reader, more, size, reader.precision, path=path)
                if more:
                    self.made.append(reader.scope)
        return True

    def _one_more_double(self, reader: Node | None, path: str) -> bool:
        """Read a double along with those before it, where they stand side by side on both sides.

        No jump leads between the two: what a jump leads to comes after a jump.
        """
        column, scope = (reader.column, reader.scope) if reader is not None else (-1, 0)
        if (reader is not None and reader.kind != "double") or not self.rows or self.paths[-1] == path:
            return False
        last = self.rows[-1]
        next_column = last[ops.COLUMN] + last[ops.A] + 1 if last[ops.COLUMN] >= 0 else -1
        if (last[ops.OP], last[ops.SCOPE], next_column) != (ops.DOUBLE, scope, column):
            return False
        last[ops.A] += 1
        self.paths.append(path)
        return True

    def _record(self, writer: Node, reader: Node | None) -> None:
        taken: set[int] = set()
        for f in writer.fields:
            target = named(f.name, reader) if reader is not None else None
            if target is not None:
                taken.add(id(target))
            self.value(f.node, target.node if target is not None else None)
        for f in reader.fields if reader is not None else ():
            if id(f) not in taken:
                self.default(f)

    def default(self, f: Field) -> None:
        """Read a field that the writer does not have from the bytes of its default."""
        if not f.has_default:
            raise SchemaError(f"field {f.node.path} is not in the writer's schema and has no default")
        if f.default is None and (f.node.null_branch >= 0 or f.node.kind == "null"):
            return
        written = default_bytes(f) or b""
        self.emit(ops.DEFAULT, None, len(self.defaults), len(written), path=f.node.path)
        self.defaults += written
        self.value(f.node, f.node)
        self.emit(ops.RETURN, None, path=f.node.path)

    def _enum(self, writer: Node, reader: Node | None) -> None:
        table = len(self.tables)
        symbols = reader.symbols if reader is not None else writer.symbols
        default = reader.default_symbol if reader is not None else None
        other = symbols.index(default) if default in symbols else -1
        self.tables += [symbols.index(s) if s in symbols else other for s in writer.symbols]
        self.emit(ops.ENUM, reader, table, len(writer.symbols), path=writer.path)

    def _list(self, writer: Node, reader: Node | None) -> None:
        items = reader.item_scope if reader is not None else -1
        narrowest = sum(f.node.narrowest for f in writer.fields)
        if items >= 0:
            self.narrowest[items] = max(1, narrowest)
        self.emit(ops.LIST, reader, b=items, path=writer.path)
        again = self.emit(ops.ITEM, reader, b=items, c=narrowest, path=writer.path)
        for mine, theirs in zip(writer.fields, reader.fields if reader is not None else writer.fields, strict=True):
            self.value(mine.node, theirs.node if reader is not None else None)
        self.emit(ops.JUMP, None, again, path=writer.path)
        self.rows[again][ops.A] = len(self.rows)


def _both(writer: Node, reader: Node) -> str:
    """A field whose two types differ, for messages."""
    return f"{writer.path} (written as {said(writer)}, read as {said(reader)})"


def fits(writer: Node, reader: Node) -> bool:
    """Whether a value of one type can be read as the other (Avro specification, Schema Resolution)."""
    if writer.kind != reader.kind:
        return (writer.kind, reader.kind) in PROMOTED
    if writer.kind in ("record", "enum", "fixed"):
        names = {reader.name.rpartition(".")[2], *(a.rpartition(".")[2] for a in reader.aliases)}
        return writer.name.rpartition(".")[2] in names and (writer.kind != "fixed" or writer.size == reader.size)
    if writer.kind in ("array", "map"):
        mine, theirs = writer.fields[-1].node, reader.fields[-1].node
        plain = mine.kind != "union" and mine.null_branch < 0 and theirs.kind != "union" and theirs.null_branch < 0
        return fits(mine, theirs) if plain else True
    return True


def _member(writer: Node, reader: Node) -> Node | None:
    """The first branch of the reader's union of the writer's very type, else the first that takes it."""
    fitting = [f.node for f in reader.fields if fits(writer, f.node)]
    same = [n for n in fitting if n.kind == writer.kind]
    return next(iter([*same, *fitting]), None)


def named(name: str, reader: Node) -> Field | None:
    exact = [f for f in reader.fields if f.name == name]
    return next(iter([*exact, *(f for f in reader.fields if name in f.aliases)]), None)
