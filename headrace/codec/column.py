"""A column of byte strings: one buffer and the places where each begins. What keys and values travel in.

The layout is Arrow's large binary: nothing on the hot path makes a Python object for each record. As a
sequence it gives ``bytes`` or None, for those who look at single records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

import numpy as np

from headrace.codec.compiled import compiled
from headrace.codec.objects import NO_BYTES, NULLS, copy_list, fill_dicts, fill_list, measure

Octets = np.ndarray[tuple[int], np.dtype[np.uint8]]
Offsets = np.ndarray[tuple[int], np.dtype[np.int64]]
Places = np.ndarray[tuple[int], np.dtype[np.int64]]
Valid = np.ndarray[tuple[int], np.dtype[np.bool_]]
G = TypeVar("G", bound=np.generic)
S = TypeVar("S", bound=tuple[int, ...])


class BytesColumn(Sequence[bytes | None]):
    """n byte strings, some of them null.

    Attributes:
        data: uint8, the strings end to end; there may be bytes before the first and after the last.
        offsets: int64 (n + 1,), rising; string i is ``data[offsets[i]:offsets[i + 1]]``.
        valid: bool (n,), false where a string is null; None: none is.
    """

    __slots__ = ("data", "offsets", "valid")

    def __init__(self, data: Octets, offsets: Offsets, valid: Valid | None = None) -> None:
        self.data = data
        self.offsets = offsets
        self.valid = valid

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> BytesColumn:
        """A column of these values; a column comes back as it is."""
        if isinstance(values, BytesColumn):
            return values
        items = values if isinstance(values, list) else list(values)
        offsets = np.zeros(len(items) + 1, dtype=np.int64)
        valid = np.empty(len(items), dtype=np.bool_)
        found = measure(id(items), id(None), offsets, valid)
        if found == NO_BYTES:
            kinds = {type(v).__name__ for v in items} - {"bytes", "NoneType"}
            raise TypeError(f"keys and values are bytes or None, not {', '.join(sorted(kinds))}")
        data = np.empty(int(offsets[-1]), dtype=np.uint8)
        copy_list(id(items), offsets, data)
        return cls(data, offsets, valid if found == NULLS else None)

    @classmethod
    def nulls(cls, count: int) -> BytesColumn:
        """A column of ``count`` nulls."""
        return cls(np.zeros(0, np.uint8), np.zeros(count + 1, np.int64), np.zeros(count, np.bool_))

    @classmethod
    def concat(cls, columns: Sequence[BytesColumn]) -> BytesColumn:
        """These columns one after the other."""
        if len(columns) == 1:
            return columns[0]
        if not columns:
            return cls.nulls(0)
        data = np.concatenate([c.data[c.offsets[0] : c.offsets[-1]] for c in columns])
        lengths = np.concatenate([np.diff(c.offsets) for c in columns])
        offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        valid = None
        if any(c.valid is not None for c in columns):
            valid = np.concatenate([np.ones(len(c), np.bool_) if c.valid is None else c.valid for c in columns])
        return cls(data, offsets, valid)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, place: int) -> bytes | None: ...
    @overload
    def __getitem__(self, place: slice | Places) -> BytesColumn: ...
    def __getitem__(self, place: int | slice | Places) -> bytes | BytesColumn | None:
        if isinstance(place, np.ndarray):
            return self._at(place)
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step != 1:
                return self._at(np.arange(start, stop, step))
            stop = max(start, stop)
            valid = None if self.valid is None else self.valid[start:stop]
            return BytesColumn(self.data, self.offsets[start : stop + 1], valid)
        place = range(len(self))[place]
        if self.valid is not None and not self.valid[place]:
            return None
        return self.data[self.offsets[place] : self.offsets[place + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes | None]:
        return iter(self.to_list())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BytesColumn):
            return self.to_list() == other.to_list()
        return self.to_list() == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"BytesColumn({self.to_list()!r})"

    def to_list(self) -> list[bytes | None]:
        """Every string as ``bytes``, or None."""
        found: list[bytes | None] = [None] * len(self)
        if not fill_list(id(found), *self.buffers()):
            raise MemoryError("no memory for a list of byte strings")
        return found

    @property
    def size(self) -> int:
        """Bytes of all strings together."""
        return int(self.offsets[-1] - self.offsets[0])

    def framed(self) -> Octets:
        """Every string behind its length, eight bytes, big endian; a null is as an empty one. What hashes are over."""
        out = np.empty(self.size + 8 * len(self), dtype=np.uint8)
        frame(read_only(self.data), read_only(self.offsets), out)
        return out

    def into(self, slots: list[dict[str, bytes | None]], name: str) -> None:
        """Put every string under ``name`` into the first of the dicts, one each."""
        if len(slots) < len(self):
            raise ValueError(f"{len(slots)} dicts for {len(self)} strings")
        if not fill_dicts(id(slots), id(name), id(None), *self.buffers()):
            raise MemoryError("no memory for byte strings")

    def buffers(self) -> tuple[Octets, Offsets, Valid]:
        """Data, offsets and validity (empty: all are valid) as compiled code takes them."""
        valid = self.valid if self.valid is not None else np.ones(0, dtype=np.bool_)
        return read_only(self.data), read_only(self.offsets), read_only(valid)

    def _at(self, places: Places) -> BytesColumn:
        offsets = np.zeros(len(places) + 1, dtype=np.int64)
        np.cumsum(self.offsets[places + 1] - self.offsets[places], out=offsets[1:])
        data = np.empty(int(offsets[-1]), dtype=np.uint8)
        gather(read_only(self.data), self.offsets[places], offsets, data)
        return BytesColumn(data, offsets, None if self.valid is None else self.valid[places])


@compiled
def gather(data: Octets, starts: Offsets, offsets: Offsets, out: Octets) -> None:
    """Copy pieces of ``data``, which begin at ``starts``, to ``out``, where they begin at ``offsets``."""
    for row in range(len(starts)):
        r = np.uint64(row)
        begin = np.uint64(offsets[r])
        source = np.uint64(starts[r])
        for k in range(np.uint64(offsets[r + np.uint64(1)]) - begin):
            out[begin + np.uint64(k)] = data[source + np.uint64(k)]


@compiled
def frame(data: Octets, offsets: Offsets, out: Octets) -> None:
    """Copy strings to ``out``, each behind its length."""
    at = np.uint64(0)
    for row in range(len(offsets) - 1):
        begin = np.uint64(offsets[row])
        length = np.uint64(offsets[row + 1]) - begin
        for k in range(8):
            out[at + np.uint64(k)] = np.uint8(length >> np.uint64(56 - 8 * k) & np.uint64(0xFF))
        at += np.uint64(8)
        for k in range(length):
            out[at + np.uint64(k)] = data[begin + np.uint64(k)]
        at += length


def read_only(array: np.ndarray[S, np.dtype[G]]) -> np.ndarray[S, np.dtype[G]]:
    """The same array, not to be written: kernels are compiled for such once, wherever it comes from."""
    view: np.ndarray[S, np.dtype[G]] = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
