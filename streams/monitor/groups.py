"""Which groups a record is in: its features record says, and predictions and outcomes name that by its offset."""

from __future__ import annotations

import numpy as np
import polars as pl

from headrace.streams.monitor.tally import Codes, Integers


class Groups:
    """Every group met so far, numbered from 1 in the order they came; 0 stands for all records.

    Args:
        columns: the pipeline's groups.
    """

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self.names = [""]
        """Number -> ``column=value``."""
        self._numbers: list[dict[str | None, int]] = [{} for _ in columns]

    def numbers(self, rows: pl.DataFrame) -> Codes:
        """The groups of feature rows, (n, columns)."""
        found = np.zeros((rows.height, len(self.columns)), dtype=np.int32)
        for i, (column, known) in enumerate(zip(self.columns, self._numbers, strict=True)):
            values = rows[column]
            different = values.unique(maintain_order=True).to_list()
            for value in different:
                if value not in known:
                    known[value] = len(self.names)
                    self.names.append(f"{column}={'' if value is None else value}")
            if different:
                now = [known[value] for value in different]
                found[:, i] = values.replace_strict(different, now, return_dtype=pl.Int32).to_numpy()
        return found


class Grouped:
    """The groups of one partition's features records, by offset, while outcomes may still name them.

    16 bytes a record, and 4 for each group column.

    Args:
        columns: how many group columns there are.
    """

    def __init__(self, columns: int) -> None:
        self.reached = 0
        """Offset up to which features have been read; 0 where none were."""
        self._offsets = np.zeros(1024, dtype=np.int64)
        self._windows = np.zeros(1024, dtype=np.int64)
        self._codes = np.zeros((1024, columns), dtype=np.int32)
        self._first = self._end = 0

    def __len__(self) -> int:
        return self._end - self._first

    def take(self, offsets: Integers, windows: Integers, codes: Codes) -> None:
        """Keep the groups of features records, given with the windows they belong to."""
        end = self._end + len(offsets)
        if end > len(self._offsets):
            self._move(max(1024, 2 * (len(self) + len(offsets))))
            end = self._end + len(offsets)
        self._offsets[self._end : end] = offsets
        self._windows[self._end : end] = windows
        self._codes[self._end : end] = codes
        self._end = end

    def at(self, offsets: Integers) -> Codes:
        """The groups of the features records at these offsets, (n, columns); 0 where they are not kept."""
        kept = self._offsets[self._first : self._end]
        if not len(kept):
            return np.zeros((len(offsets), self._codes.shape[1]), dtype=np.int32)
        places = np.minimum(np.searchsorted(kept, offsets), len(kept) - 1)
        found: Codes = self._codes[self._first + places]
        found[kept[places] != offsets] = 0
        return found

    def drop_before(self, window: int) -> None:
        """Let go of what stands before the first record of this window or a later one."""
        needed = self._windows[self._first : self._end] >= window
        self._first = self._first + int(needed.argmax()) if needed.any() else self._end
        if len(self) < len(self._offsets) // 8:
            self._move(max(1024, 2 * len(self)))

    def earliest(self, position: int) -> int:
        """Offset from which what is kept can be read again; the last record read is always among it."""
        first = int(self._offsets[self._first]) if len(self) else position
        return min(first, self.reached - 1 if self.reached else position)

    def _move(self, size: int) -> None:
        kept = slice(self._first, self._end)
        self._end, self._first = len(self), 0
        spare = size - self._end
        self._offsets = np.concatenate([self._offsets[kept], np.zeros(spare, dtype=np.int64)])
        self._windows = np.concatenate([self._windows[kept], np.zeros(spare, dtype=np.int64)])
        self._codes = np.concatenate([self._codes[kept], np.zeros((spare, self._codes.shape[1]), dtype=np.int32)])
