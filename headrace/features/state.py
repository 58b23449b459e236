"""A partition's windows as a processor holds them: each row comes in once, however often its batch is tried."""

from __future__ import annotations

from collections import deque

import polars as pl

from headrace.declare.pipeline import OFFSET, Pipeline
from headrace.features.plan import micros, plan_of
from headrace.features.windows import PartitionWindows


class WindowState:
    """The windows of a pipeline over one partition, and the offset from which they can be made again.

    A batch on which the user's ``features`` fails is tried again in parts. Its rows are in the windows by then: what
    they were given is kept until their part has gone through.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        plan = plan_of(pipeline.windows, pipeline.raw_columns)
        self._windows = PartitionWindows(plan, pipeline.event_time, micros(pipeline.lateness))
        self._settled = micros(pipeline.lateness + pipeline.reach)
        self._endless, self._event_time = pipeline.endless, pipeline.event_time
        self._given: pl.DataFrame | None = None
        """Offsets and windows of the rows that are in and have not gone through."""
        self._refused: dict[int, str] = {}
        self._next = 0
        self._batches: deque[tuple[int, int]] = deque()
        """First offset of each batch, and the newest time up to its end."""

    @property
    def groups(self) -> int:
        """How many groups there are, over all windows."""
        return self._windows.groups

    @property
    def bytes(self) -> int:
        """What the compiled windows take."""
        return self._windows.bytes

    def with_windows(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[int, str]]:
        """The rows with a column for each window, and by their offset those that no window can take, and why."""
        new = rows if self._given is None else rows.filter(pl.col(OFFSET) >= self._next)
        if new.height or self._given is None:
            columns, refused = self._windows.take(new)
            given = columns.insert_column(0, new[OFFSET])
            self._refused |= {int(new[OFFSET][place]): why for place, why in refused}
            self._given = given if self._given is None else pl.concat([self._given, given])
        if new.height:
            self._next = int(new[OFFSET][-1]) + 1
            self._remember(new)
        assert self._given is not None
        if self._given.height == rows.height:
            found = rows.hstack(self._given.drop(OFFSET))
        else:
            found = rows.join(self._given, on=OFFSET, how="left", maintain_order="left")
        offsets = set(rows[OFFSET].to_list()) if self._refused else set()
        return found, {offset: why for offset, why in self._refused.items() if offset in offsets}

    def went_through(self, offset: int) -> None:
        """What rows up to an offset were given is needed no more."""
        if self._given is not None:
            left = self._given.filter(pl.col(OFFSET) > offset)
            self._given = left if left.height else None
        self._refused = {o: why for o, why in self._refused.items() if o > offset}

    def rebuild_from(self, position: int) -> int:
        """The first offset of the rows that a row to come may look at; ``position`` where there are none."""
        return self._batches[0][0] if self._batches else position

    def _remember(self, new: pl.DataFrame) -> None:
        latest = new[self._event_time].cast(pl.Datetime("us", "UTC")).to_physical().max()
        assert isinstance(latest, int)
        newest = max(latest, self._batches[-1][1]) if self._batches else latest
        if self._endless and self._batches:
            self._batches[0] = (self._batches[0][0], newest)
            return
        self._batches.append((int(new[OFFSET][0]), newest))
        while not self._endless and self._batches[0][1] < newest - self._settled:
            self._batches.popleft()


def with_windows(pipeline: Pipeline, events: pl.DataFrame) -> pl.DataFrame:
    """The rows of one partition, in log order, with a column for each window of the pipeline: for tests and history.

    Args:
        pipeline: the declaration.
        events: all raw fields, and ``offset``; none later than the pipeline's lateness allows.

    Raises:
        ValueError: a window cannot take one of the rows.
    """
    rows, refused = WindowState(pipeline).with_windows(events)
    if refused:
        offset, why = min(refused.items())
        raise ValueError(f"the row of offset {offset}: {why}")
    return rows
