"""Ids as numbers: 32-bit tags of byte strings, and which strings of a batch are the same. Tags only guide: whether two
ids are the same is decided by their bytes."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from headrace.codec.column import BytesColumn, Octets, Offsets, Places, read_only
from headrace.codec.compiled import compiled

Tags = np.ndarray[tuple[int], np.dtype[np.uint32]]

SEED = int.from_bytes(os.urandom(8), "little") >> 1
"""Of this process, so that nobody can send ids that all have one tag."""
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


class Groups(NamedTuple):
    """The ids of a batch of n records, g different ones among them.

    Attributes:
        ids: the n ids.
        tags: uint32 (n,), of each id.
        group: int64 (n,), which of the different ids each is.
        firsts: int64 (g,), place of the first record of each.
    """

    ids: BytesColumn
    tags: Tags
    group: Places
    firsts: Places


def grouped(ids: BytesColumn) -> Groups:
    """Which ids of a batch are the same; none is null."""
    data, offsets = read_only(ids.data), read_only(ids.offsets)
    tags = tags_of(data, offsets, SEED)
    group, firsts = _group(data, offsets, tags)
    return Groups(ids, tags, group, firsts)


@compiled
def digest(data: Octets, start: int, size: int, seed: int) -> int:
    """64 bits of the ``size`` bytes from ``start`` on: a word at a time, each multiplied and mixed (splitmix64's
    constants)."""
    h = np.uint64(seed) ^ (np.uint64(size) * _ODD)
    at = np.uint64(start)
    for _ in range(size >> 3):
        word = np.uint64(0)
        for k in range(8):
            word |= np.uint64(data[at + np.uint64(k)]) << np.uint64(8 * k)
        h = (h ^ word) * _MIX
        h ^= h >> np.uint64(29)
        at += np.uint64(8)
    word = np.uint64(0)
    for k in range(size & 7):
        word |= np.uint64(data[at + np.uint64(k)]) << np.uint64(8 * k)
    h = (h ^ word) * _MIX
    h ^= h >> np.uint64(32)
    h *= _ODD
    return h ^ (h >> np.uint64(29))  # type: ignore[return-value]


@compiled
def equal(one: Octets, start: int, size: int, other: Octets, other_start: int) -> bool:
    """Whether ``size`` bytes of two buffers are the same."""
    a, b = np.uint64(start), np.uint64(other_start)
    for k in range(size):  # noqa: SIM110 - compiled code knows no generator
        if one[a + np.uint64(k)] != other[b + np.uint64(k)]:
            return False
    return True


@compiled
def tags_of(data: Octets, offsets: Offsets, seed: int) -> Tags:
    """The tag of each string."""
    out = np.empty(len(offsets) - 1, dtype=np.uint32)
    for row in range(len(out)):
        h = np.uint64(digest(data, offsets[row], offsets[row + 1] - offsets[row], seed))
        out[row] = np.uint32(h >> np.uint64(32))
    return out


@compiled
def _group(data: Octets, offsets: Offsets, tags: Tags) -> tuple[Places, Places]:
    count = len(tags)
    slots = 16
    while slots < 2 * count:
        slots *= 2
    table = np.full(slots, -1, dtype=np.int64)
    group = np.empty(count, dtype=np.int64)
    firsts = np.empty(count, dtype=np.int64)
    found = 0
    for row in range(count):
        size = offsets[row + 1] - offsets[row]
        slot = np.int64(tags[row]) & (slots - 1)
        while True:
            known = table[slot]
            if known < 0:
                table[slot] = found
                firsts[found] = row
                group[row] = found
                found += 1
                break
            first = firsts[known]
            if (
                tags[first] == tags[row]
                and offsets[first + 1] - offsets[first] == size
                and equal(data, offsets[row], size, data, offsets[first])
            ):
                group[row] = known
                break
            slot = (slot + 1) & (slots - 1)
    return group, firsts[:found].copy()
