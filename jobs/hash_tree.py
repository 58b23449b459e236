"""A hash tree over records: one root stands for them all, a part can be checked alone, and a changed record be found.

The tree is that of RFC 6962, section 2.1: a leaf is sha-256(0x00, records), a node sha-256(0x01, left, right), and the
leaves of a tree are split at the largest power of two below their number. A leaf holds 16 records, the last one what is
left: hashing each alone would cost six times as much. A record is its key and then its value, each behind its length in
eight bytes, big endian; a null is the length 2^64 - 1 and nothing more.

Of a tree its *blocks* are kept: the roots of equal, complete parts (a power of two leaves each, the last one what is
left), at most 256 of them. The root follows from them, and two trees can be compared block by block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headrace.codec.column import BytesColumn
from headrace.codec.compiled import compiled

DIGEST = 32
LEAF = 16
"""Records of a leaf."""
MOST_BLOCKS = 256
_LEAF, _NODE, _FOREST = b"\x00", b"\x01", b"\x02"

Octets = np.ndarray[tuple[int], np.dtype[np.uint8]]
Offsets = np.ndarray[tuple[int], np.dtype[np.int64]]
Valid = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class HashTree:
    """The tree over the records of a range.

    Attributes:
        count: how many records.
        block: records of each block, a power of two and at least ``LEAF``; the last block may have fewer.
        blocks: the root of each block.
    """

    count: int
    block: int
    blocks: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        """The hash that stands for every record; sha-256 of nothing where there is none."""
        return _root(self.blocks) if self.blocks else hashlib.sha256().digest()

    def resized(self, block: int) -> HashTree:
        """The same tree in larger blocks."""
        blocks, size = list(self.blocks), self.block
        while size < block:
            blocks, size = _paired(blocks), size * 2
        return HashTree(self.count, size, tuple(blocks))

    def span(self, number: int) -> tuple[int, int]:
        """Records of a block: from the first, counted from 0, to before the last."""
        return number * self.block, min((number + 1) * self.block, self.count)


class TreeBuilder:
    """Builds a tree from records as they are read; holds the leaves of one block, and the records of one leaf."""

    def __init__(self, most_blocks: int = MOST_BLOCKS) -> None:
        self._most = most_blocks
        self._block = LEAF
        self._blocks: list[bytes] = []
        self._open: list[bytes] = []
        self._leaf = hashlib.sha256(_LEAF)
        self._count = 0

    def add(self, keys: BytesColumn, values: BytesColumn) -> None:
        """Take the next records."""
        framed, begins = _framed(keys, values)
        to_fill, at = LEAF - self._count % LEAF, 0
        for stop in begins[to_fill::LEAF].tolist():
            self._leaf.update(framed[at:stop])
            self._close_leaf()
            at = stop
        self._leaf.update(framed[at:])
        self._count += len(keys)

    def tree(self) -> HashTree:
        """The tree over the records so far."""
        leaves = [*self._open, self._leaf.digest()] if self._count % LEAF else self._open
        rest = [_root(leaves)] if leaves else []
        return HashTree(self._count, self._block, (*self._blocks, *rest))

    def _close_leaf(self) -> None:
        self._open.append(self._leaf.digest())
        self._leaf = hashlib.sha256(_LEAF)
        if len(self._open) * LEAF == self._block:
            self._blocks.append(_root(self._open))
            self._open = []
            if len(self._blocks) == self._most:
                self._blocks = _paired(self._blocks)
                self._block *= 2


def forest_root(trees: Mapping[int, HashTree]) -> str:
    """One hash for the trees of several partitions, hex: sha-256 over 0x02 and, partition by partition in order, its
    number (4 bytes, big endian), its count (8) and its root."""
    hashed = hashlib.sha256(_FOREST)
    for partition, tree in sorted(trees.items()):
        hashed.update(partition.to_bytes(4, "big") + tree.count.to_bytes(8, "big") + tree.root)
    return hashed.hexdigest()


def differing(one: HashTree, other: HashTree) -> list[tuple[int, int]]:
    """Where two trees differ: spans of records, counted from 0, first to before last; a count that differs shows in
    the last span."""
    block = max(one.block, other.block)
    one, other = one.resized(block), other.resized(block)
    longer = one if one.count >= other.count else other
    places = range(len(longer.blocks))
    return [longer.span(i) for i in places if one.blocks[i : i + 1] != other.blocks[i : i + 1]]


def _root(hashes: Sequence[bytes]) -> bytes:
    """The root over subtrees of equal size, the last one perhaps smaller."""
    level = list(hashes)
    while len(level) > 1:
        level = _paired(level)
    return level[0]


def _paired(level: Sequence[bytes]) -> list[bytes]:
    """The level above: neighbours joined; an odd last one goes up as it is."""
    sha = hashlib.sha256
    above = [sha(_NODE + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
    return above + list(level[len(level) & ~1 :])


def hashes(stated: str) -> tuple[bytes, ...]:
    """Hashes that are stated as hex digits, end to end."""
    packed = bytes.fromhex(stated)
    return tuple(packed[i : i + DIGEST] for i in range(0, len(packed), DIGEST))


def stated(blocks: Iterable[bytes]) -> str:
    """Hashes as hex digits, end to end."""
    return b"".join(blocks).hex()


def _framed(keys: BytesColumn, values: BytesColumn) -> tuple[memoryview, Offsets]:
    """Records as they are hashed, end to end, and where each begins, (n + 1,)."""
    begins = np.zeros(len(keys) + 1, dtype=np.int64)
    lengths = sum(int(c.offsets[-1] - c.offsets[0]) for c in (keys, values))
    out = np.empty(lengths + 16 * len(keys), dtype=np.uint8)
    _frame(*keys.buffers(), *values.buffers(), out, begins)
    return out.data[: int(begins[-1])], begins


@compiled
def _frame(
    key_data: Octets,
    key_offsets: Offsets,
    key_valid: Valid,
    value_data: Octets,
    value_offsets: Offsets,
    value_valid: Valid,
    out: Octets,
    begins: Offsets,
) -> None:
    """Write each record's key and value, each behind its length; ``begins``, (n + 1,): where each begins."""
    at = np.uint64(0)
    for row in range(len(begins) - 1):
        r = np.uint64(row)
        for part in range(2):
            data, offsets, valid = (
                (key_data, key_offsets, key_valid) if part == 0 else (value_data, value_offsets, value_valid)
            )
            null = len(valid) > 0 and not valid[r]
            begin = np.uint64(offsets[r])
            length = np.uint64(0) if null else np.uint64(offsets[r + np.uint64(1)]) - begin
            stated = np.uint64(0xFFFFFFFFFFFFFFFF) if null else length
            for k in range(8):
                out[at + np.uint64(k)] = np.uint8(stated >> np.uint64(56 - 8 * k) & np.uint64(0xFF))
            at += np.uint64(8)
            for k in range(length):
                out[at + np.uint64(k)] = data[begin + np.uint64(k)]
            at += length
        begins[r + np.uint64(1)] = np.int64(at)
