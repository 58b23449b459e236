"""Compiled code over rows and their bytes: copying, comparing, checking."""

from __future__ import annotations

import numpy as np

from headrace.codec.column import Octets, Offsets, Places, Valid
from headrace.codec.compiled import compiled
from headrace.state.hashing import digest, equal

Checks = np.ndarray[tuple[int], np.dtype[np.uint32]]
SEARCHED = 64
"""Bytes of a value in which its id is looked for."""
_SEED = 7


@compiled
def sealed(data: Octets, starts: Places, sizes: Places) -> Checks:
    """A check of each piece of ``data``."""
    out = np.empty(len(starts), dtype=np.uint32)
    for row in range(len(starts)):
        out[row] = np.uint32(np.uint64(digest(data, starts[row], sizes[row], _SEED)) & np.uint64(0xFFFFFFFF))
    return out


@compiled
def checked(data: Octets, starts: Places, sizes: Places, checks: Checks) -> int:
    """The first piece whose check is another, or -1."""
    for row in range(len(starts)):
        found = np.uint64(digest(data, starts[row], sizes[row], _SEED)) & np.uint64(0xFFFFFFFF)
        if np.uint32(found) != checks[row]:
            return row
    return -1


@compiled
def within(values: Octets, value_offsets: Offsets, ids: Octets, id_offsets: Offsets) -> Places:
    """Where in each value its id begins; -1: nowhere near the beginning, where it is looked for."""
    out = np.full(len(id_offsets) - 1, -1, dtype=np.int64)
    for row in range(len(out)):
        size = id_offsets[row + 1] - id_offsets[row]
        begin = value_offsets[row]
        for at in range(begin, min(begin + SEARCHED, value_offsets[row + 1] - size + 1)):
            if equal(values, at, size, ids, id_offsets[row]):
                out[row] = at - begin
                break
    return out


@compiled
def copy_in(data: Octets, offsets: Offsets, out: Octets, starts: Places) -> None:
    """Copy each string to ``out``, where its start says."""
    for row in range(len(starts)):
        source, to = np.uint64(offsets[row]), np.uint64(starts[row])
        for k in range(offsets[row + 1] - offsets[row]):
            out[to + np.uint64(k)] = data[source + np.uint64(k)]


@compiled
def copy_out(
    data: Octets, part: int, parts: Places, starts: Places, sizes: Places, out: Octets, offsets: Offsets
) -> None:
    """Copy the pieces that are of buffer ``part`` to where each begins in ``out``."""
    for row in range(len(starts)):
        if parts[row] == part:
            source, to = np.uint64(starts[row]), np.uint64(offsets[row])
            for k in range(sizes[row]):
                out[to + np.uint64(k)] = data[source + np.uint64(k)]


@compiled
def same(
    data: Octets,
    part: int,
    parts: Places,
    starts: Places,
    sizes: Places,
    ids: Octets,
    id_offsets: Offsets,
    which: Places,
    out: Valid,
) -> None:
    """Whether each piece that is of buffer ``part`` is the id that ``which`` names."""
    for row in range(len(starts)):
        if parts[row] == part:
            begin = id_offsets[which[row]]
            size = id_offsets[which[row] + 1] - begin
            out[row] = size == sizes[row] and equal(data, starts[row], size, ids, begin)
