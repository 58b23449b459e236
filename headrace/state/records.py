"""Records in the order of their log, held in segments, the oldest of which may be on disk."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headrace.codec.column import BytesColumn, Octets, Places, Valid, read_only
from headrace.state.kernels import copy_in, copy_out, same, within
from headrace.state.segment import ROW, Piece, Rows, Segment

BLOCK = 4096
"""Rows whose fixed fields are looked at together, going through them in order."""
Times = np.ndarray[tuple[int], np.dtype[np.int64]]


class Arrived(NamedTuple):
    """n records of one partition, in log order, none of their ids and values null.

    Attributes:
        ids: what they are found by.
        times: int64 (n,), microseconds of event time.
        watermarks: int64 (n,), the largest time in the partition up to and including each.
        offsets: int64 (n,), rising.
        values: as they were read.
        keys: as they were read; None: they are not held.
    """

    ids: BytesColumn
    times: Times
    watermarks: Times
    offsets: Times
    values: BytesColumn
    keys: BytesColumn | None = None


class Records:
    """Rows numbered as they come.

    Attributes:
        end: number of the next row.
        on_disk: bytes of the rows that are on disk.
    """

    def __init__(self) -> None:
        self.end = 0
        self.on_disk = 0
        self._segments: list[Segment] = []
        self._begins: list[int] = []
        self._written = 0

    @property
    def held(self) -> int:
        """Bytes of memory it takes."""
        return sum(s.size for s in self._segments[self._written :])

    def oldest_in_memory(self) -> Segment | None:
        """The segment that goes to disk next."""
        return next(iter(self._segments[self._written :]), None)

    def add(self, arrived: Arrived) -> None:
        """Append records."""
        values, ids, keys = arrived.values, arrived.ids, arrived.keys
        id_at = within(*_arrays(values), *_arrays(ids))
        sizes, id_sizes = np.diff(values.offsets), np.diff(ids.offsets)
        key_sizes = np.zeros(len(sizes), dtype=np.int64) if keys is None else np.diff(keys.offsets)
        apart = id_at < 0
        room = key_sizes + sizes + np.where(apart, id_sizes, 0)
        ends = np.cumsum(room)
        segment = self._open(len(sizes), int(ends[-1]) if len(ends) else 0)
        starts = segment.used + ends - room
        at = segment.count
        rows = segment.rows[at : at + len(sizes)]
        rows["time"], rows["watermark"], rows["offset"] = arrived.times, arrived.watermarks, arrived.offsets
        rows["start"], rows["room"], rows["size"] = starts, room, sizes
        rows["key"] = key_sizes if keys is None or keys.valid is None else np.where(keys.valid, key_sizes, -1)
        rows["id_at"] = key_sizes + np.where(apart, sizes, id_at)
        rows["id_size"] = id_sizes
        if keys is not None:
            copy_in(*_arrays(keys), segment.data, starts)
        copy_in(*_arrays(values), segment.data, starts + key_sizes)
        if apart.any():
            at_end = np.flatnonzero(apart)
            copy_in(*_arrays(ids[at_end]), segment.data, (starts + key_sizes + sizes)[at_end])
        segment.count += len(sizes)
        segment.used += int(ends[-1]) if len(ends) else 0
        self.end += len(sizes)

    def at(self, numbers: Places) -> Located:
        """The rows of these numbers, in any order.

        Raises:
            StateError: a file cannot be read, or is damaged.
        """
        if (numbers[1:] < numbers[:-1]).any():
            order = np.argsort(numbers, kind="stable")
            found = self._rising(numbers[order])
            back = np.empty_like(order)
            back[order] = np.arange(len(order))
            return found.at(back)
        return self._rising(numbers)

    def fixed(self, start: int) -> Rows:
        """The fixed fields of row ``start`` and some of those after it.

        Raises:
            StateError: a file cannot be read, or is damaged.
        """
        segment = self._segments[bisect_right(self._begins, start) - 1]
        begin = start - segment.first
        return segment.fixed(begin, min(segment.count, begin + BLOCK))

    def drop_before(self, number: int) -> None:
        """Let go of the segments whose rows are all before ``number``."""
        while self._segments and self._segments[0].end <= number and self._segments[0].count:
            gone = self._segments.pop(0)
            self._begins.pop(0)
            if self._written:
                self._written -= 1
                self.on_disk -= gone.size
            gone.drop()

    def write_oldest(self, path: Path) -> None:
        """Move the oldest segment that is in memory to a file.

        Raises:
            StateError: the disk does not take it.
        """
        segment = self.oldest_in_memory()
        if segment is not None:
            segment.write(path)
            self._written += 1
            self.on_disk += segment.size

    def close(self) -> None:
        """Let go of everything."""
        for segment in self._segments:
            segment.drop()
        self._segments, self._begins, self._written, self.on_disk = [], [], 0, 0

    def _open(self, count: int, octets: int) -> Segment:
        if not self._segments or self._segments[-1].full:
            self._segments.append(Segment(self.end))
            self._begins.append(self.end)
        self._segments[-1].make_room(count, octets)
        return self._segments[-1]

    def _rising(self, numbers: Places) -> Located:
        pieces: list[Piece] = []
        parts, begin = np.zeros(len(numbers), dtype=np.int64), 0
        while begin < len(numbers):
            segment = self._segments[bisect_right(self._begins, int(numbers[begin])) - 1]
            stop = int(np.searchsorted(numbers, segment.end))
            parts[begin:stop] = len(pieces)
            pieces.append(segment.piece(numbers[begin:stop] - segment.first))
            begin = stop
        if not pieces:
            return Located(np.empty(0, dtype=ROW), [], parts, np.zeros(0, dtype=np.int64))
        if len(pieces) == 1:
            return Located(pieces[0].rows, [pieces[0].data], parts, pieces[0].starts)
        rows: Rows = np.concatenate([p.rows for p in pieces])
        return Located(rows, [p.data for p in pieces], parts, np.concatenate([p.starts for p in pieces]))


class Located(NamedTuple):
    """k rows, with their bytes at hand.

    Attributes:
        rows: their fixed fields, (k,).
        data: buffers.
        parts: int64 (k,), in which buffer the bytes of each are.
        starts: int64 (k,), where they begin there.
    """

    rows: Rows
    data: list[Octets]
    parts: Places
    starts: Places

    @property
    def times(self) -> Times:
        """Event times, int64 (k,)."""
        return self._field("time")

    @property
    def watermarks(self) -> Times:
        """Largest event times up to each, int64 (k,)."""
        return self._field("watermark")

    @property
    def offsets(self) -> Times:
        """Offsets, int64 (k,)."""
        return self._field("offset")

    def at(self, places: Places) -> Located:
        """Those at these places."""
        return Located(self.rows[places], self.data, self.parts[places], self.starts[places])

    def are(self, ids: BytesColumn, which: Places) -> Valid:
        """Whether the id of each is the one of ``ids`` that ``which`` (k,) names: bool (k,)."""
        out: Valid = np.empty(len(self.rows), dtype=np.bool_)
        starts, sizes = self.starts + self._field("id_at"), self._field("id_size")
        for part, data in enumerate(self.data):
            same(read_only(data), part, self.parts, starts, sizes, *_arrays(ids), which, out)
        return out

    def values(self) -> BytesColumn:
        """The values, as they were read."""
        return self._copied(self.starts + np.maximum(self._field("key"), 0), self._field("size"))

    def keys(self) -> BytesColumn:
        """The keys, as they were read."""
        sizes = self._field("key")
        copied = self._copied(self.starts, np.maximum(sizes, 0))
        return BytesColumn(copied.data, copied.offsets, sizes >= 0)

    def _copied(self, starts: Places, sizes: Places) -> BytesColumn:
        offsets = np.zeros(len(starts) + 1, dtype=np.int64)
        np.cumsum(sizes, out=offsets[1:])
        out = np.empty(int(offsets[-1]), dtype=np.uint8)
        for part, data in enumerate(self.data):
            copy_out(read_only(data), part, self.parts, starts, sizes, out, offsets)
        return BytesColumn(out, offsets)

    def _field(self, name: str) -> Places:
        return self.rows[name].astype(np.int64)


def _arrays(column: BytesColumn) -> tuple[Octets, Places]:
    return read_only(column.data), read_only(column.offsets)
