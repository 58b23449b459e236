"""A batch of records decoded into cells, and numpy's view of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.codec import ops
from headrace.codec.column import BytesColumn, Octets, gather, read_only
from headrace.codec.decimal_kernel import MADE
from headrace.codec.decode_kernel import decode
from headrace.codec.decoder import Program
from headrace.codec.tree import Layout, Node

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Codes = np.ndarray[tuple[int], np.dtype[np.int32]]
_NOTHING = np.zeros(0, dtype=np.uint8)


class Batch:
    """n records of one writer's schema, decoded.

    Args:
        program: what reads them.
        layout: where it puts the values.
        values: the records, and more perhaps; none of those at ``places`` is null.
        places: int64 (n,), which of ``values``.
        header: bytes before each body.

    Attributes:
        errors: int32 (n,), 0 or an error of :mod:`headrace.codec.ops`; what failed has no row.
        error_at: int32 (n,), byte of the record at which it failed.
        height: rows.
    """

    def __init__(self, program: Program, layout: Layout, values: BytesColumn, places: Ints, header: int) -> None:
        count = len(places)
        self._program = program
        data = values.data
        begin_defaults = len(data)
        if program.defaults:
            data = np.concatenate([data, np.frombuffer(program.defaults, dtype=np.uint8)])
        begin_made = len(data)
        size = int(values.offsets[-1] - values.offsets[0]) if len(values) else 0
        room = np.array([size // n + count * len(program.defaults) for n in program.narrowest], dtype=np.int64)
        room[0] = count
        if program.made:
            data = np.concatenate([data, np.zeros(MADE * int(room[program.made].sum()), dtype=np.uint8)])
        columns, flags = np.array(layout.columns, dtype=np.int64), np.array(layout.flags, dtype=np.int64)
        self._bases, cells = _laid_out(room, columns)
        self._flag_bases, flag_count = _laid_out(room, flags)
        self._cells = np.zeros(cells, dtype=np.int64)
        self._flags = np.zeros(flag_count, dtype=np.uint8)
        self._rows = np.zeros(layout.scopes, dtype=np.int64)
        self.errors = np.zeros(count, dtype=np.int32)
        self.error_at = np.full(count, -1, dtype=np.int32)
        self._error_path = np.zeros(count, dtype=np.int32)
        self._data = read_only(data)
        decode(
            self._data,
            read_only(values.offsets),
            places,
            header,
            begin_defaults,
            begin_made,
            data if program.made else _NOTHING,
            program.rows,
            program.tables,
            self._bases,
            columns,
            self._flag_bases,
            flags,
            room,
            self._cells,
            self._flags,
            self._rows,
            self.errors,
            self.error_at,
            self._error_path,
        )

    @property
    def height(self) -> int:
        return int(self._rows[0])

    def reasons(self, places: Ints, lengths: Ints) -> list[str]:
        """What is wrong with the records at ``places``, which are ``lengths`` bytes long."""
        paths = self._program.paths
        found = zip(
            *(a[places].tolist() for a in (self.errors, self.error_at, self._error_path)), lengths.tolist(), strict=True
        )
        return [
            f"the record ends at byte {at} of {length}"
            if error == ops.TRAILING
            else f"field {paths[path]} at byte {at} {ops.SAYS[error]}"
            for error, at, path, length in found
        ]

    def rows(self, node: Node) -> int:
        """Rows of a node's scope."""
        return int(self._rows[node.scope])

    def present(self, node: Node) -> Bools | None:
        """Which of a node's rows hold a value; None: all may."""
        if node.flag < 0:
            return None
        begin = self._flag_bases[node.flag]
        found: Bools = self._flags[begin : begin + self.rows(node)].view(np.bool_)
        return found

    def integers(self, node: Node, cell: int = 0) -> Ints:
        """A node's cells, int64 (rows,); those of absent values are 0."""
        begin = self._bases[node.column + cell]
        return self._cells[begin : begin + self.rows(node)]

    def floats(self, node: Node) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """A number's cells as float64; float32 values are exact in it, absent ones NaN."""
        cells = self.integers(node)
        match node.kind:
            case "double":
                found = cells.view(np.float64)
            case "float":
                found = cells.astype(np.uint32).view(np.float32).astype(np.float64)
            case _:
                found = cells.astype(np.float64)
        present = self.present(node)
        return found if present is None or present.all() else np.where(present, found, np.nan)

    def strings(self, node: Node) -> BytesColumn:
        """The strings or bytes of a node, copied end to end."""
        return gathered(self._data, self.integers(node), self.integers(node, 1), self.present(node))

    def matrix(self, nodes: Sequence[Node]) -> Matrix:
        """Numbers of the first scope as float32 (height, len(nodes)); absent ones are NaN."""
        out = np.empty((self.height, len(nodes)), dtype=np.float32)
        for j, node in enumerate(nodes):
            out[:, j] = self.floats(node)
        return out


def gathered(data: Octets, starts: Ints, lengths: Ints, present: Bools | None = None) -> BytesColumn:
    """The pieces of ``data`` as a column."""
    offsets = np.zeros(len(starts) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    out = np.empty(int(offsets[-1]), dtype=np.uint8)
    gather(read_only(data), starts, offsets, out)
    return BytesColumn(out, offsets, None if present is None or present.all() else present)


def _laid_out(room: Ints, scopes: Ints) -> tuple[Ints, int]:
    """Where each column begins, its room being its scope's, and how many cells there are."""
    ends = np.cumsum(room[scopes]) if len(scopes) else np.zeros(0, dtype=np.int64)
    begins = np.concatenate([np.zeros(1, dtype=np.int64), ends])[: max(len(scopes), 1)]
    return begins.astype(np.int64), int(ends[-1]) if len(scopes) else 0
