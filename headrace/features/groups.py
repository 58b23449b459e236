"""Numbers for the groups of a partition's rows, given out when a group first comes and taken back when it is gone."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from headrace.features.chains import Ints

Key = Any
"""The value of the one column that groups, or a tuple of the values of several."""
_NO_KEY = object()


class Groups:
    """Which number each combination of values of the columns ``by`` has; null is a value like any other."""

    def __init__(self, by: tuple[str, ...]) -> None:
        self.by = by
        self.keys: list[Key] = []
        """Number -> its key."""
        self._numbers: dict[Key, int] = {}
        self._free: list[int] = []

    def numbers(self, rows: pl.DataFrame) -> Ints:
        """The number of each row's group, (n,)."""
        columns = [rows[name].to_list() for name in self.by]
        several = list(zip(*columns, strict=True)) if len(columns) > 1 else [()] * rows.height
        keys = columns[0] if len(columns) == 1 else several
        found = list(map(self._numbers.get, keys))
        if None in found:
            found = [self._number(key) for key in keys]
        return np.array(found, dtype=np.int64)

    def give_back(self, numbers: list[int]) -> None:
        """Forget groups; their numbers are given out again."""
        for number in numbers:
            del self._numbers[self.keys[number]]
            self.keys[number] = _NO_KEY
            self._free.append(number)

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self._numbers)

    def _number(self, key: Key) -> int:
        number = self._numbers.get(key)
        if number is None:
            if self._free:
                number = self._free.pop()
                self.keys[number] = key
            else:
                number = len(self.keys)
                self.keys.append(key)
            self._numbers[key] = number
        return number
