"""Population stability index of features over windows of event time, against the baseline in a model's manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from headrace.records import FeatureBaseline

Counts = np.ndarray[tuple[int], np.dtype[np.int64]]
WHOLE = 0.1
"""Share of a window that may be missing at its beginning."""
FLOOR = 1e-4
"""Least share of a bin in the index, so that an empty bin does not make it infinite."""


def psi(baseline: FeatureBaseline, counts: Counts) -> float:
    """Population stability index: sum over bins of (a - e) ln(a / e), a the window's share and e the baseline's.

    Source: Siddiqi, Credit Risk Scorecards (2006): under 0.1 stable, over 0.25 a major shift.
    """
    actual = np.maximum(counts / max(int(counts.sum()), 1), FLOOR)
    expected = np.maximum(np.array(baseline.shares), FLOOR)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


class Window(NamedTuple):
    """One tumbling window of event time under one model."""

    model_id: str
    number: int


class Closed(NamedTuple):
    """A window that every partition has passed.

    ``whole`` is false for one in which the model's rule began late: a part of a week is no week.
    """

    window: Window
    counts: dict[str, Counts]
    rows: int
    whole: bool


@dataclass
class FeatureWindows:
    """Counts per feature and bin for each open window, over all partitions of this worker.

    Attributes:
        span: length of a window in microseconds.
        first_offsets: for each open window and partition, the offset of its first row there.
        first_times: for each open window, its earliest event time.
    """

    span: int
    counts: dict[Window, dict[str, Counts]] = field(default_factory=dict)
    rows: dict[Window, int] = field(default_factory=dict)
    first_offsets: dict[Window, dict[int, int]] = field(default_factory=dict)
    first_times: dict[Window, int] = field(default_factory=dict)

    def add(
        self, model_id: str, baseline: list[FeatureBaseline], partition: int, rows: pl.DataFrame, offsets: Counts
    ) -> None:
        """Count feature rows (one partition, one model in force) into the windows of their event time."""
        times = rows["event_time"].to_physical().to_numpy()
        indices = times // self.span
        for index in np.unique(indices).tolist():
            inside = indices == index
            window = Window(model_id, int(index))
            part = rows.filter(pl.Series(inside))
            self.rows[window] = self.rows.get(window, 0) + part.height
            self.first_offsets.setdefault(window, {}).setdefault(partition, int(offsets[inside][0]))
            earliest = int(times[inside].min())
            self.first_times[window] = min(self.first_times.get(window, earliest), earliest)
            counts = self.counts.setdefault(window, {})
            for b in baseline:
                values = part[b.feature].cast(pl.Float64).to_numpy()
                binned = np.bincount(np.searchsorted(b.edges, values, side="left"), minlength=len(b.shares))
                counts[b.feature] = counts[b.feature] + binned if b.feature in counts else binned

    def close_before(self, time: int) -> list[Closed]:
        """Take out the windows that end at or before ``time`` (microseconds), oldest first."""
        done = sorted((w for w in self.counts if (w.number + 1) * self.span <= time), key=lambda w: w.number)
        closed = []
        for window in done:
            del self.first_offsets[window]
            begins = self.first_times.pop(window) - window.number * self.span
            whole = begins <= self.span * WHOLE
            closed.append(Closed(window, self.counts.pop(window), self.rows.pop(window), whole))
        return closed

    def earliest(self, partition: int, position: int) -> int:
        """Offset of the partition's first row in an open window."""
        return min((f[partition] for f in self.first_offsets.values() if partition in f), default=position)
