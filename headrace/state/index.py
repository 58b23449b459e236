"""Which rows may have an id: a hash table of row numbers, in memory.

Rows are numbered as they come and go in the same order. A bucket names its newest row, and each row the one before it
in its bucket; a chain ends at the first row that is gone, so nothing is ever taken out. The table grows by linear
hashing, one bucket at a time: no batch waits for all of it to be hashed anew.

Memory: 9 bytes a row, and 4 for each bucket, of which there are half as many as rows.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from headrace.codec.column import Octets, Places, Valid
from headrace.codec.compiled import compiled
from headrace.errors import StateError
from headrace.state.hashing import Tags

D = TypeVar("D", bound=np.generic)
LOAD = 2
"""Rows to a bucket."""
LEAST = 1024
"""Buckets to begin with, and rows there is room for."""
MOST = 2**32 - 1
"""Rows that one index tells apart: buckets and ways back have 32 bits."""
LOW = 2**32 - 1
EMPTY = np.uint32(LOW)
"""Of a bucket: the row before the first of all."""


class Index:
    """Numbers of rows by the tag of their id.

    Attributes:
        first: rows before this are gone.
        end: number of the next row.
    """

    def __init__(self) -> None:
        self.first = 0
        self.end = 0
        self._base = 0
        self._back = np.zeros(LEAST, dtype=np.uint32)
        self._tags: Tags = np.zeros(LEAST, dtype=np.uint32)
        self._flags: Octets = np.zeros(LEAST, dtype=np.uint8)
        self._heads: Tags = np.full(LEAST, EMPTY, dtype=np.uint32)
        self._level, self._split = LEAST, 0

    @property
    def size(self) -> int:
        """Bytes it takes."""
        rows = self.end - self._base
        return (
            rows * (self._back.itemsize + self._tags.itemsize + 1) + (self._level + self._split) * self._heads.itemsize
        )

    def add(self, tags: Tags, flags: Octets, linked: Valid) -> None:
        """Number the next rows.

        Args:
            tags: of their ids, (n,).
            flags: a byte for each, the owner's to use, (n,).
            linked: whether a row is to be found at all, (n,).
        """
        count = len(tags)
        self._make_room(count)
        at = self.end - self._base
        self._tags[at : at + count] = tags
        self._flags[at : at + count] = flags
        self._grow(-(-(self.end + count - self.first) // LOAD))
        _link(self._heads, self._back, self._tags, self._level, self._split, self._base, self.first, self.end, linked)
        self.end += count

    def candidates(self, tags: Tags, asked: Valid, unless: int) -> tuple[Places, Places]:
        """The rows of each tag that is ``asked`` for, those that have none of the flags ``unless``, oldest first.

        Returns:
            Where those of each tag begin, (len(tags) + 1,), and their numbers. Their ids may be others all the same.
        """
        return _walk(
            self._heads,
            self._back,
            self._tags,
            self._flags,
            self._level,
            self._split,
            self._base,
            self.first,
            self.end,
            tags,
            asked,
            unless,
        )

    def flags(self, rows: Places | slice) -> Octets:
        """Flags of these rows, a copy where ``rows`` are numbers."""
        if isinstance(rows, slice):
            return self._flags[rows.start - self._base : rows.stop - self._base]
        return self._flags[rows - self._base]

    def mark(self, rows: Places, flag: int) -> None:
        """Set a flag of these rows."""
        self._flags[rows - self._base] |= np.uint8(flag)

    def _make_room(self, count: int) -> None:
        live = self.end - self.first
        if live + count > MOST:
            raise StateError(
                f"more than {MOST:,} records of one partition are held, which is the most: give the topic more "
                "partitions, or the pipeline a shorter label_horizon"
            )
        room = len(self._tags)
        if self.end - self._base + count <= room:
            return
        if live + count > room * 3 // 4:
            room = (live + count) * 3 // 2
        begin = self.first - self._base
        self._back = _moved(self._back, begin, live, room)
        self._tags = _moved(self._tags, begin, live, room)
        self._flags = _moved(self._flags, begin, live, room)
        self._base = self.first

    def _grow(self, buckets: int) -> None:
        while self._level + self._split < buckets:
            if self._split == 0 and len(self._heads) < 2 * self._level:
                self._heads = _moved(self._heads, 0, self._level, 2 * self._level)
            stop = min(self._level, buckets - self._level)
            _divide(
                self._heads, self._back, self._tags, self._level, self._split, stop, self._base, self.first, self.end
            )
            self._split = stop
            if stop == self._level:
                self._level, self._split = 2 * self._level, 0


def _moved(
    array: np.ndarray[tuple[int], np.dtype[D]], begin: int, count: int, room: int
) -> np.ndarray[tuple[int], np.dtype[D]]:
    """``count`` cells from ``begin`` on, at the beginning of an array of ``room``."""
    made = array if len(array) == room else np.empty(room, dtype=array.dtype)
    made[:count] = array[begin : begin + count]
    return made


@compiled
def _bucket(tag: int, level: int, split: int) -> int:
    low = tag & (level - 1)
    return low if low >= split else tag & (2 * level - 1)


@compiled
def _newest(heads: Tags, tags: Tags, bucket: int, level: int, split: int, base: int, first: int, end: int) -> np.int64:
    """Number of a bucket's newest row, from its last 32 bits; -1: it has none. One that is not of the bucket was named
    by a row long gone."""
    last = np.int64(end - 1)
    row = last - ((last - np.int64(heads[bucket])) & LOW)
    if row < first or _bucket(int(tags[row - base]), level, split) != bucket:
        return np.int64(-1)
    return row


@compiled
def _link(
    heads: Tags,
    back: Tags,
    tags: Tags,
    level: int,
    split: int,
    base: int,
    first: int,
    begin: int,
    linked: Valid,
) -> None:
    for k in range(len(linked)):
        row = begin + k
        back[row - base] = 0
        if not linked[k]:
            continue
        bucket = _bucket(int(tags[row - base]), level, split)
        head = _newest(heads, tags, bucket, level, split, base, first, row)
        if head >= 0:
            back[row - base] = np.uint32(row - head)
        heads[bucket] = np.uint32(row & LOW)


@compiled
def _divide(
    heads: Tags, back: Tags, tags: Tags, level: int, start: int, stop: int, base: int, first: int, end: int
) -> None:
    """Divide the buckets from ``start`` to before ``stop`` between themselves and those ``level`` further on."""
    for bucket in range(start, stop):
        row = _newest(heads, tags, bucket, level, bucket, base, first, end)
        heads[bucket] = EMPTY
        heads[bucket + level] = EMPTY
        last_low, last_high = np.int64(-1), np.int64(-1)
        while row >= first:
            way = np.int64(back[row - base])
            back[row - base] = 0
            if np.int64(tags[row - base]) & level:
                if last_high < 0:
                    heads[bucket + level] = np.uint32(row & LOW)
                else:
                    back[last_high - base] = np.uint32(last_high - row)
                last_high = row
            else:
                if last_low < 0:
                    heads[bucket] = np.uint32(row & LOW)
                else:
                    back[last_low - base] = np.uint32(last_low - row)
                last_low = row
            if way == 0:
                break
            row -= way


@compiled
def _walk(
    heads: Tags,
    back: Tags,
    tags: Tags,
    flags: Octets,
    level: int,
    split: int,
    base: int,
    first: int,
    end: int,
    wanted: Tags,
    asked: Valid,
    unless: int,
) -> tuple[Places, Places]:
    starts = np.zeros(len(wanted) + 1, dtype=np.int64)
    found = np.empty(0, dtype=np.int64)
    for filling in range(2):
        for k in range(len(wanted)):
            tag = wanted[k]
            bucket = _bucket(int(tag), level, split)
            row = _newest(heads, tags, bucket, level, split, base, first, end) if asked[k] else np.int64(-1)
            at = starts[k + 1]
            count = 0
            while row >= first:
                if tags[row - base] == tag and not flags[row - base] & unless:
                    count += 1
                    if filling:
                        found[at - count] = row
                way = np.int64(back[row - base])
                if way == 0:
                    break
                row -= way
            if not filling:
                starts[k + 1] = starts[k] + count
        if not filling:
            found = np.empty(starts[len(wanted)], dtype=np.int64)
    return starts, found
