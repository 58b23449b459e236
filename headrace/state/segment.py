"""Rows that came one after the other, in memory or in one file: fixed fields of each, and their bytes end to end."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headrace.codec.column import Octets, Places, read_only
from headrace.state.folder import PRIVATE_FILE, cannot, damaged
from headrace.state.kernels import checked, sealed

ROW = np.dtype(
    [
        ("time", "<i8"),
        ("watermark", "<i8"),
        ("offset", "<i8"),
        ("start", "<u4"),
        ("key", "<i4"),
        ("size", "<u4"),
        ("id_at", "<u4"),
        ("id_size", "<u4"),
        ("room", "<u4"),
        ("bytes_check", "<u4"),
        ("check", "<u4"),
    ]
)
"""A row. Its ``room`` bytes begin at ``start``: the key (``key`` bytes; -1: it is null), the value (``size`` bytes),
and the id where it is no part of the value; ``id_at`` counts from ``start``. The checks are of a file's alone."""
Rows = np.ndarray[tuple[int], np.dtype[np.void]]

MOST_ROWS = 1 << 17
MOST_BYTES = 32 << 20
SMALL = 1 << 20
"""Bytes up to which room is made in steps."""
GAP = 4096
"""Bytes between two pieces of a file up to which both are read at once."""


class Piece(NamedTuple):
    """Some rows of a segment, (k,), and where the bytes of each begin in ``data``."""

    rows: Rows
    data: Octets
    starts: Places


@dataclass
class Segment:
    """Rows from number ``first`` on.

    Attributes:
        first: number of the first row.
        count: how many there are.
        used: bytes of theirs.
        path: the file they are in; None: they are in memory.
    """

    first: int
    count: int = 0
    used: int = 0
    path: Path | None = None

    def __post_init__(self) -> None:
        self.rows: Rows = np.empty(0, dtype=ROW)
        self.data: Octets = np.empty(0, dtype=np.uint8)

    @property
    def end(self) -> int:
        """Number of the row after the last."""
        return self.first + self.count

    @property
    def size(self) -> int:
        """Bytes of its rows, wherever they are."""
        return self.count * ROW.itemsize + self.used

    @property
    def full(self) -> bool:
        """Whether the next row should begin another one."""
        return self.path is not None or self.count >= MOST_ROWS or self.used >= MOST_BYTES

    def make_room(self, count: int, octets: int) -> None:
        """See that so many rows and bytes more fit."""
        if self.count + count > len(self.rows):
            rows: Rows = np.empty(_room(self.count + count, ROW.itemsize, MOST_ROWS), dtype=ROW)
            rows[: self.count] = self.rows[: self.count]
            self.rows = rows
        if self.used + octets > len(self.data):
            data: Octets = np.empty(_room(self.used + octets, 1, MOST_BYTES), dtype=np.uint8)
            data[: self.used] = self.data[: self.used]
            self.data = data

    def fixed(self, start: int, stop: int) -> Rows:
        """The fixed fields of rows ``start`` to before ``stop``, counted within the segment.

        Raises:
            StateError: the file cannot be read, or is damaged.
        """
        if self.path is None:
            return self.rows[start:stop]
        with _Reading(self.path) as file:
            return self._fixed(file, np.arange(start, stop))

    def piece(self, places: Places) -> Piece:
        """Rows at rising places within the segment, with their bytes.

        Raises:
            StateError: the file cannot be read, or is damaged.
        """
        if self.path is None:
            rows = self.rows[places]
            return Piece(rows, self.data[: self.used], rows["start"].astype(np.int64))
        with _Reading(self.path) as file:
            rows = self._fixed(file, places)
            starts = rows["start"].astype(np.int64)
            data, at = file.spans(starts + self.count * ROW.itemsize, rows["room"].astype(np.int64))
        wrong = checked(read_only(data), at, rows["room"].astype(np.int64), np.ascontiguousarray(rows["bytes_check"]))
        if wrong >= 0:
            raise damaged(self.path, f"row {int(places[wrong])} of {self.count}: its bytes are not those written")
        return Piece(rows, data, at)

    def write(self, path: Path) -> None:
        """Move the rows to a file.

        Raises:
            StateError: the disk does not take them; they stay in memory.
        """
        rows, data = self.rows[: self.count], self.data[: self.used]
        rows["bytes_check"] = sealed(read_only(data), rows["start"].astype(np.int64), rows["room"].astype(np.int64))
        rows["check"] = _row_checks(rows)
        try:
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE)
            try:
                for part in (rows.view(np.uint8), data):
                    left = memoryview(part.data)
                    while left:
                        left = left[os.write(file, left) :]
            finally:
                os.close(file)
        except OSError as e:
            path.unlink(missing_ok=True)
            raise cannot(f"take {self.size:,} bytes more", path, e) from None
        self.path = path
        self.rows, self.data = np.empty(0, dtype=ROW), np.empty(0, dtype=np.uint8)

    def drop(self) -> None:
        """Let go of the rows, the file too."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.rows, self.data = np.empty(0, dtype=ROW), np.empty(0, dtype=np.uint8)

    def _fixed(self, file: _Reading, places: Places) -> Rows:
        sizes = np.full(len(places), ROW.itemsize, dtype=np.int64)
        data, at = file.spans(places * ROW.itemsize, sizes)
        if len(data) != len(places) * ROW.itemsize:
            data = data[(at[:, None] + np.arange(ROW.itemsize)).reshape(-1)]
        rows: Rows = data.view(ROW)
        wrong = np.flatnonzero(rows["check"] != _row_checks(rows))
        if len(wrong):
            raise damaged(file.path, f"row {int(places[wrong[0]])} of {self.count} is not the one written")
        return rows


def _room(needed: int, size: int, most: int) -> int:
    """Cells to make room for: twice as many while that is little, then as many as a segment has at most. Memory that
    is not yet written to takes no room, so that this wastes less than growing in steps."""
    if 2 * needed * size <= SMALL:
        return 2 * needed
    return max(needed, most)


def _row_checks(rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    starts = np.arange(len(rows), dtype=np.int64) * ROW.itemsize
    return sealed(read_only(rows.view(np.uint8)), starts, np.full(len(rows), ROW.fields["check"][1], dtype=np.int64))  # type: ignore[index]


class _Reading:
    """A segment's file, open for as long as a batch reads of it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _Reading:
        try:
            self._file = self.path.open("rb", buffering=0)
        except OSError as e:
            raise damaged(self.path, e.strerror or str(e)) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def spans(self, starts: Places, sizes: Places) -> tuple[Octets, Places]:
        """Pieces of the file, which begin at rising ``starts``: a buffer, and where each begins in it."""
        if not len(starts):
            return np.empty(0, dtype=np.uint8), starts
        stops = starts + sizes
        apart = np.flatnonzero(starts[1:] - stops[:-1] > GAP) + 1
        begins, ends = np.concatenate([[0], apart]), np.concatenate([apart, [len(starts)]])
        run_starts = starts[begins]
        lengths = stops[ends - 1] - run_starts
        at = np.concatenate([[0], np.cumsum(lengths)])
        out: Octets = np.empty(int(at[-1]), dtype=np.uint8)
        view = out.data
        for begin, length, to in zip(run_starts.tolist(), lengths.tolist(), at.tolist(), strict=False):
            self._read(view[to : to + length], begin)
        return out, starts + np.repeat(at[:-1] - run_starts, ends - begins)

    def _read(self, into: memoryview, at: int) -> None:
        read = 0
        try:
            self._file.seek(at)
            while read < len(into):
                more = self._file.readinto(into[read:])
                if not more:
                    raise damaged(self.path, f"it ends at byte {at + read:,}, and was longer")
                read += more
        except OSError as e:
            raise damaged(self.path, e.strerror or str(e)) from None
