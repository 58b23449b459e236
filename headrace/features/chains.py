"""Entries of many groups in order of time: each group is a chain of blocks in arrays that all groups share.

An entry has a time, a mask that says what it counts for, and values. Blocks begin small and grow to 256 entries, so
that a million groups of three entries and three of a million are both compact. A block that has come out of every
window is used again. Where entries have the same time, the one that came later in the log stands later.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.codec.compiled import compiled_in_place

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Table = np.ndarray[tuple[int, int], np.dtype[np.int64]]
Cube = np.ndarray[tuple[int, int, int], np.dtype[np.int64]]

SMALLEST, SIZES = 4, 7
"""Entries of the smallest block, and how many sizes there are: 4, 8, ... 256."""
LARGEST = SMALLEST << (SIZES - 1)
AT, SIZE, END, NEXT, BEFORE = range(5)
"""Columns of ``blocks``: where its entries begin, log2(its room / SMALLEST), how many there are, its neighbours."""
BIT, COLUMN, FLOATS, LEAST = range(4)
"""Columns of ``best_of``: the bit of entries that count, the column of ``values``, whether it holds doubles, and
whether the least is sought, not the greatest."""
FIRST, LAST = 0, 1
"""Columns of ``groups``: the first and the last block; -1: there is none."""
BLOCK_COLUMNS = 5
TOP, TOP_BLOCK, FREE = 0, 1, 2
MARKS = FREE + SIZES
"""Places in ``marks``: entries used, blocks used, and from there on the first free block of each size, or -1."""
ENDLESS = -(2**63)
"""As a time: before all that there are. As a key: less than all that there are."""


class Chains(NamedTuple):
    """The arrays. Kernels change what they hold; what must grow is replaced between two calls."""

    time: Ints
    """(room,): microseconds."""
    mask: Ints
    """(room,): bit k is set where the entry counts for those terms whose bit is k."""
    values: Table
    """(columns, room): integers, or the bits of doubles."""
    blocks: Table
    """(blocks, 5): see AT."""
    best: Table
    """(blocks, terms of least and greatest): the greatest key of each block's entries."""
    best_of: Table
    """(terms of least and greatest, 4): see BIT."""
    groups: Table
    """(groups, 2): see FIRST."""
    marks: Ints


@compiled_in_place
def room(chains: Chains) -> bool:
    """Whether one more entry finds its place, whatever it takes."""
    # A late entry may split a block in two.
    entries = bool(chains.marks[TOP] + 2 * LARGEST <= chains.time.size)
    return entries and bool(chains.marks[TOP_BLOCK] + 2 <= chains.blocks.shape[0])


@compiled_in_place
def new_block(chains: Chains, size: int) -> int:
    """A block of a size, empty and alone."""
    block = int(chains.marks[FREE + size])
    if block >= 0:
        chains.marks[FREE + size] = chains.blocks[block, NEXT]
    else:
        block = int(chains.marks[TOP_BLOCK])
        chains.marks[TOP_BLOCK] += 1
        chains.blocks[block, AT] = chains.marks[TOP]
        chains.blocks[block, SIZE] = size
        chains.marks[TOP] += SMALLEST << size
    chains.blocks[block, END] = 0
    chains.blocks[block, NEXT] = -1
    chains.blocks[block, BEFORE] = -1
    for k in range(chains.best.shape[1]):
        chains.best[block, k] = ENDLESS
    return block


@compiled_in_place
def free_first(chains: Chains, group: int) -> None:
    """Give back a group's first block."""
    block = chains.groups[group, FIRST]
    following = chains.blocks[block, NEXT]
    chains.groups[group, FIRST] = following
    if following >= 0:
        chains.blocks[following, BEFORE] = -1
    else:
        chains.groups[group, LAST] = -1
    size = chains.blocks[block, SIZE]
    chains.blocks[block, NEXT] = chains.marks[FREE + size]
    chains.marks[FREE + size] = block


@compiled_in_place
def add_block(chains: Chains, group: int) -> int:
    """A new last block of a group, twice as large as the one before it."""
    last = chains.groups[group, LAST]
    block = new_block(chains, 0 if last < 0 else min(chains.blocks[last, SIZE] + 1, SIZES - 1))
    chains.blocks[block, BEFORE] = last
    chains.groups[group, LAST] = block
    if last < 0:
        chains.groups[group, FIRST] = block
    else:
        chains.blocks[last, NEXT] = block
    return block


@compiled_in_place
def key_of(bits: int, floats: int, least: int) -> int:
    """A value as an integer that is the greater, the greater (or where ``least``, the smaller) the value is."""
    key = np.int64(bits)
    if floats:
        if key == ENDLESS:
            key = np.int64(0)  # -0.0 is no less than 0.0
        key ^= (key >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF)
    return int(~key if least else key)


@compiled_in_place
def bits_of(key: int, floats: int, least: int) -> int:
    """The value whose key this is."""
    bits = ~np.int64(key) if least else np.int64(key)
    if floats:
        bits ^= (bits >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF)
    return int(bits)


@compiled_in_place
def greatest(chains: Chains, k: int, at: int, stop: int, best: int) -> int:
    """The greatest key of term ``k`` of the entries at ``at`` to before ``stop``, or ``best`` where that is greater."""
    bit, column = chains.best_of[k, BIT], chains.best_of[k, COLUMN]
    floats, least = chains.best_of[k, FLOATS], chains.best_of[k, LEAST]
    for place in range(at, stop):
        if (chains.mask[place] >> bit) & 1:
            best = max(best, key_of(chains.values[column, place], floats, least))
    return best


@compiled_in_place
def look_again(chains: Chains, block: int) -> None:
    """Find the greatest keys of a block's entries anew."""
    at = chains.blocks[block, AT]
    for k in range(chains.best.shape[1]):
        chains.best[block, k] = greatest(chains, k, at, at + chains.blocks[block, END], ENDLESS)


@compiled_in_place
def split(chains: Chains, group: int, block: int) -> int:
    """Move the second half of a full block into a new one behind it; gives that."""
    size = chains.blocks[block, SIZE]
    other = new_block(chains, size)
    half = (SMALLEST << size) // 2
    start, to = chains.blocks[block, AT] + half, chains.blocks[other, AT]
    for j in range(half):
        chains.time[to + j] = chains.time[start + j]
        chains.mask[to + j] = chains.mask[start + j]
        for k in range(chains.values.shape[0]):
            chains.values[k, to + j] = chains.values[k, start + j]
    chains.blocks[block, END] = half
    chains.blocks[other, END] = half
    look_again(chains, block)
    look_again(chains, other)
    following = chains.blocks[block, NEXT]
    chains.blocks[other, NEXT] = following
    chains.blocks[other, BEFORE] = block
    chains.blocks[block, NEXT] = other
    if following < 0:
        chains.groups[group, LAST] = other
    else:
        chains.blocks[following, BEFORE] = other
    return other
