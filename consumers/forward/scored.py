"""The features that one partition's predictions were made from, held until the predictions have passed."""

from __future__ import annotations

import numpy as np
import polars as pl

from headrace.consumers.forward.documents import Places
from headrace.topics.pipeline_topics import PipelineTopics

MOST = 50_000
"""Rows that are held; features wait while infer is further behind."""


def scored_of(topics: PipelineTopics) -> Scored:
    """A place for the features of one partition, in the types that a features record has them in: the log knows one
    width of integers, features() many."""
    types = topics.columns("features")
    return Scored({name: types[name] for name in topics.pipeline.feature_columns})


class Scored:
    """Features records of one partition that predictions may still name.

    Args:
        columns: the feature columns, name -> type.
    """

    def __init__(self, columns: dict[str, pl.DataType]) -> None:
        self._columns = columns
        self._offsets: Places = np.zeros(0, dtype=np.int64)
        self._rows = pl.DataFrame(schema=columns)
        self._last = -1

    @property
    def reached(self) -> int:
        """Offset up to which features have been taken; 0 where none were."""
        return self._last + 1

    @property
    def count(self) -> int:
        """How many rows are held."""
        return len(self._offsets)

    @property
    def room(self) -> int:
        """How many rows more can be held."""
        return max(0, MOST - self.count)

    def take(self, offsets: Places, rows: pl.DataFrame, last: int) -> None:
        """Hold rows, given with their offsets; ``last`` is the offset of the last record, whatever that was."""
        self._offsets = np.concatenate([self._offsets, offsets])
        self._rows = pl.concat([self._rows, rows.select(list(self._columns))], rechunk=True)
        self._last = last

    def at(self, offsets: Places) -> pl.Series:
        """What was scored at each offset, as a struct; null where that is not held."""
        dtype = pl.Struct(self._columns)
        if not len(self._offsets):
            return pl.Series([None] * len(offsets), dtype=dtype)
        places = np.minimum(np.searchsorted(self._offsets, offsets), len(self._offsets) - 1)
        there = pl.Series(self._offsets[places] == offsets)
        rows = self._rows[places].to_struct()
        return pl.select(pl.when(there).then(rows).otherwise(None).alias("scored")).to_series()

    def passed(self, offsets: Places) -> None:
        """Predictions of these offsets have come, so none of one earlier than the last will. Shadows of that may.

        Offsets that features have not come to are nobody's, and say nothing.
        """
        known = offsets[offsets < self.reached]
        if not len(known):
            return
        first = int(np.searchsorted(self._offsets, known.max()))
        self._offsets, self._rows = self._offsets[first:], self._rows[first:]

    def earliest(self, position: int) -> int:
        """Offset from which what is held can be read again; the last record taken is always among it."""
        held = int(self._offsets[0]) if len(self._offsets) else position
        return min(held, self._last if self._last >= 0 else position)
