"""Rows of cells to records: the program of a schema, the cells gathered from columns, the bytes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headrace.codec import ops
from headrace.codec.batch import Bools, Ints
from headrace.codec.column import BytesColumn, read_only
from headrace.codec.decoder import PLAIN
from headrace.codec.encode_kernel import encode
from headrace.codec.tree import WIDEST, Layout, Node
from headrace.errors import SchemaError

Numbers = (
    np.ndarray[tuple[int], np.dtype[np.int64]]
    | np.ndarray[tuple[int], np.dtype[np.int32]]
    | np.ndarray[tuple[int], np.dtype[np.float64]]
    | np.ndarray[tuple[int], np.dtype[np.float32]]
    | np.ndarray[tuple[int], np.dtype[np.bool_]]
)
Grid = np.ndarray[tuple[int, int], np.dtype[np.float32]] | np.ndarray[tuple[int, int], np.dtype[np.float64]]
ColumnValues = Numbers | Grid | BytesColumn | str | bytes | int | float | bool | None
"""Values of a field for n rows: n values, an array (n, k) for arrays of k numbers, or one value for all."""


class Cells:
    """The cells of n rows, put together column by column."""

    def __init__(self, layout: Layout, count: int) -> None:
        self.count = count
        self._layout = layout
        self._columns: list[Ints | None] = [None] * len(layout.columns)
        self._flags: list[np.ndarray | None] = [None] * len(layout.flags)
        self._data: list[np.ndarray] = []
        self._end = 0
        self._room = 0

    def numbers(self, node: Node, values: Numbers | int | float | bool) -> None:
        """Cells of a number, boolean, enum (its index) or time."""
        array = np.atleast_1d(np.asarray(values))
        match node.kind:
            case "double":
                cells = np.ascontiguousarray(array, dtype=np.float64).view(np.int64)
            case "float":
                cells = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32).astype(np.int64)
            case _:
                cells = np.ascontiguousarray(array, dtype=np.int64)
        if node.kind == "int" and len(cells) and (cells.min() < -(2**31) or cells.max() >= 2**31):
            raise SchemaError(f"field {node.path}: a value is no 32-bit integer")
        self._columns[node.column] = cells
        self._room += WIDEST.get(node.kind, 5) * self._rows(cells)

    def strings(self, node: Node, column: BytesColumn) -> None:
        """Cells of strings, bytes or fixed."""
        lengths = np.diff(column.offsets)
        if node.kind == "fixed" and (lengths != node.size).any():
            raise SchemaError(f"field {node.path}: a value has not {node.size} bytes")
        starts = column.offsets[:-1] - column.offsets[0] + self._end
        self._data.append(column.data[column.offsets[0] : column.offsets[-1]])
        self._end += len(self._data[-1])
        self._columns[node.column], self._columns[node.column + 1] = starts, lengths
        each = self._rows(starts)
        self._room += 5 * each + (len(self._data[-1]) if len(starts) == each else each * int(lengths.sum()))

    def lengths(self, node: Node, lengths: Ints) -> None:
        """How many items each array or map has."""
        self._columns[node.column] = np.zeros(1, dtype=np.int64)
        self._columns[node.column + 1] = lengths
        self._room += 11 * self._rows(lengths)

    def present(self, node: Node, present: Bools | bool) -> None:
        """Which rows of an optional node hold a value."""
        self._flags[node.flag] = np.atleast_1d(np.asarray(present, dtype=np.bool_)).view(np.uint8)

    def absent(self, node: Node) -> None:
        """No row of an optional node holds a value."""
        self.present(node, False)
        for cell in range(2 if node.kind in ("string", "bytes", "fixed", "array", "map") else 1):
            if node.column >= 0:
                self._columns[node.column + cell] = np.zeros(1, dtype=np.int64)

    def records(self, program: np.ndarray[tuple[int, int], np.dtype[np.int64]], prefix: bytes) -> BytesColumn:
        """The rows as records, each behind ``prefix``.

        Raises:
            SchemaError: a row has no value for a union without null.
        """
        columns = [np.zeros(1, dtype=np.int64) if c is None else c for c in self._columns]
        flags = [np.zeros(1, dtype=np.uint8) if f is None else f for f in self._flags]
        unions = len(program) * 2 * max(self.count, 1) + 2 * self._room
        out = np.empty(self._room + len(prefix) * self.count + unions, dtype=np.uint8)
        offsets = np.zeros(self.count + 1, dtype=np.int64)
        none = [np.zeros(1, dtype=np.int64)]
        failed = encode(
            read_only(np.frombuffer(prefix, dtype=np.uint8)),
            read_only(np.concatenate([*self._data, np.zeros(1, dtype=np.uint8)])),
            program,
            _begins(columns),
            _steps(columns),
            _begins(flags),
            _steps(flags),
            np.concatenate(columns or none),
            np.concatenate(flags or [np.zeros(1, dtype=np.uint8)]),
            np.zeros(self._layout.scopes, dtype=np.int64),
            offsets,
            out,
        )
        if failed >= 0:
            raise SchemaError(f"row {failed} has no value for a union without null")
        return BytesColumn(out[: offsets[-1]], offsets)

    def _rows(self, cells: Ints) -> int:
        return max(self.count, len(cells)) if len(cells) == 1 else len(cells)


def compile_encoder(layout: Layout) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The program that writes rows of a layout."""
    compiler = _Compiler()
    compiler.plain(layout.root)
    compiler.emit(ops.END)
    return np.array(compiler.rows, dtype=np.int64)


class _Compiler:
    def __init__(self) -> None:
        self.rows: list[list[int]] = []

    def emit(self, op: int, node: Node | None = None, a: int = 0, b: int = 0) -> int:
        column, scope = (node.column, node.scope) if node is not None else (-1, 0)
        self.rows.append([op, column, scope, a, b, 0, 0])
        return len(self.rows) - 1

    def value(self, node: Node) -> None:
        """Write a value, its branch first where it is of a union."""
        if node.kind == "union":
            branches = [(b, f.node) for b, f in zip(node.branches, node.fields, strict=True)]
        elif node.null_branch >= 0:
            branches = [(node.branch, node)]
        else:
            return self.plain(node)
        ends = []
        for branch, member in branches:
            asked = self.emit(ops.UNION, None, member.flag)
            self.rows[asked][ops.SCOPE] = member.scope
            self.emit(ops.BRANCH, None, branch)
            self.plain(member)
            ends.append(self.emit(ops.JUMP))
            self.rows[asked][ops.B] = len(self.rows)
        if node.null_branch >= 0:
            self.emit(ops.BRANCH, None, node.null_branch)
        else:
            self.emit(ops.REFUSE)
        for end in ends:
            self.rows[end][ops.A] = len(self.rows)
        return None

    def plain(self, node: Node) -> None:
        """Write a value of a type that is no union."""
        match node.kind:
            case "null":
                return
            case "record":
                for f in node.fields:
                    self.value(f.node)
            case "array" | "map":
                self.emit(ops.LIST, node)
                again = self.emit(ops.ITEM, None, b=node.item_scope)
                for f in node.fields:
                    self.value(f.node)
                self.emit(ops.JUMP, None, again)
                self.rows[again][ops.A] = len(self.rows)
            case "enum":
                self.emit(ops.ENUM, node)
            case "fixed":
                self.emit(ops.FIXED, node)
            case _:
                self.emit(PLAIN[node.kind], node)


def fill(cells: Cells, layout: Layout, columns: Mapping[str, ColumnValues]) -> None:
    """Cells of a record's fields from arrays and single values.

    Raises:
        SchemaError: a field is missing, or of a type that this does not take.
    """
    for f in layout.root.fields:
        if f.name not in columns:
            raise SchemaError(f"field {f.name} is missing")
        _fill(cells, f.node, columns[f.name])


def _fill(cells: Cells, node: Node, values: ColumnValues) -> None:
    if values is None:
        if node.flag < 0:
            raise SchemaError(f"field {node.path} is null")
        return cells.absent(node)
    if node.flag >= 0:
        valid = values.valid if isinstance(values, BytesColumn) else None
        cells.present(node, True if valid is None else valid)
    match node.kind:
        case "string" | "bytes" | "fixed":
            if isinstance(values, str):
                values = values.encode()
            column = BytesColumn.of([values]) if isinstance(values, bytes) else values
            if not isinstance(column, BytesColumn):
                raise SchemaError(f"field {node.path} is a {node.kind}, not numbers")
            if node.flag < 0 and column.valid is not None and not column.valid.all():
                raise SchemaError(f"field {node.path} is null in row {int(np.argmin(column.valid))}")
            return cells.strings(node, column)
        case "enum":
            if not isinstance(values, str) or values not in node.symbols:
                raise SchemaError(f"field {node.path}: {values!r} is none of {', '.join(node.symbols)}")
            return cells.numbers(node, node.symbols.index(values))
        case "array":
            if not isinstance(values, np.ndarray) or values.ndim != 2:
                raise SchemaError(f"field {node.path} takes an array of two dimensions")
            cells.lengths(node, np.array([values.size // max(len(values), 1)], dtype=np.int64))
            return cells.numbers(node.fields[0].node, values.reshape(-1))
        case "boolean" | "int" | "long" | "float" | "double":
            if isinstance(values, BytesColumn | str | bytes):
                raise SchemaError(f"field {node.path} is a {node.kind}, not text")
            return cells.numbers(node, values)  # type: ignore[arg-type]
    raise SchemaError(f"field {node.path}: a {node.kind} is written from a frame")


def _begins(arrays: list[np.ndarray]) -> Ints:
    lengths = np.array([len(a) for a in arrays] or [0], dtype=np.int64)
    return np.cumsum(lengths) - lengths


def _steps(arrays: list[np.ndarray]) -> Ints:
    return np.array([int(len(a) != 1) for a in arrays] or [0], dtype=np.int64)
