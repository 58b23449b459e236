"""Windows of features under the model in force: counts by the bins of its baseline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from headrace.models.inputs import matrix
from headrace.models.psi import Counts, binned, by_chance, ks, psi
from headrace.schema.records import FeatureBaseline
from headrace.streams.monitor.event_time import NEVER
from headrace.streams.monitor.figures import Figure

WHOLE = 0.1
"""Share of a window that may be missing at its beginning."""


class Window(NamedTuple):
    """One tumbling window of event time under one model."""

    model_id: str
    number: int


class Closed(NamedTuple):
    """A window that every partition has passed.

    ``whole`` is false for one in which the model's rule began late: a part of a week is no week. ``moved``: the
    features whose values are others than those of the training, beyond what chance does to so many rows.
    """

    window: Window
    psi: dict[str, float]
    whole: bool
    moved: frozenset[str]


@dataclass
class FeatureWindows:
    """Counts per feature and bin for each window that is not final, over all partitions of this worker.

    Memory: 8 bytes for each bin of each feature, model in force and window that is not final.

    Attributes:
        span: length of a window in microseconds.
        final: windows of lower numbers change no more.
        judged: event time up to which windows were given as closed.
    """

    span: int
    final: int = NEVER
    judged: int = NEVER
    baselines: dict[str, list[FeatureBaseline]] = field(default_factory=dict)
    counts: dict[Window, dict[str, Counts]] = field(default_factory=dict)
    rows: dict[Window, int] = field(default_factory=dict)
    first_offsets: dict[Window, dict[int, int]] = field(default_factory=dict)
    first_times: dict[Window, int] = field(default_factory=dict)

    def add(
        self, model_id: str, baseline: list[FeatureBaseline], partition: int, rows: pl.DataFrame, offsets: Counts
    ) -> dict[Window, int]:
        """Count feature rows (one partition, one model in force) into the windows of their event time.

        Returns:
            How many came for windows that are final, and were not counted.
        """
        self.baselines[model_id] = baseline
        times = rows["event_time"].to_physical().to_numpy()
        indices = times // self.span
        late = {}
        for index in np.unique(indices).tolist():
            inside = indices == index
            window = Window(model_id, int(index))
            part = rows.filter(pl.Series(inside))
            if window.number < self.final:
                late[window] = part.height
                continue
            self.rows[window] = self.rows.get(window, 0) + part.height
            self.first_offsets.setdefault(window, {}).setdefault(partition, int(offsets[inside][0]))
            earliest = int(times[inside].min())
            self.first_times[window] = min(self.first_times.get(window, earliest), earliest)
            counts = self.counts.setdefault(window, {})
            # Rounded as models take them: the bins were cut so.
            values = matrix(part, [b.feature for b in baseline])
            for column, b in enumerate(baseline):
                more = binned(b.edges, values[:, column])
                counts[b.feature] = counts[b.feature] + more if b.feature in counts else more
        return late

    def closed(self, time: int) -> list[Closed]:
        """The windows that ended at or before ``time`` (microseconds) since this was last asked, oldest first."""
        fresh = sorted((w for w in self.counts if self.judged < self._end(w) <= time), key=self._end)
        self.judged = max(self.judged, time)
        return [Closed(w, self._psi(w), self._whole(w), self._moved(w)) for w in fresh]

    def figures(self, before: int) -> dict[Window, dict[str, Figure]]:
        """The figures of the windows whose number is below ``before``, oldest first."""
        found: dict[Window, dict[str, Figure]] = {}
        for window in sorted((w for w in self.counts if w.number < before), key=lambda w: (w.number, w.model_id)):
            rows, figures = self.rows[window], found.setdefault(window, {})
            for b in self.baselines[window.model_id]:
                counts = self.counts[window][b.feature]
                figures[f"psi.{b.feature}"] = Figure(psi(b, counts), rows)
                figures[f"ks.{b.feature}"] = Figure(ks(b, counts), rows)
        return found

    def finish(self, before: int) -> None:
        """Windows whose number is below ``before`` change no more: let them go."""
        self.final = max(self.final, before)
        for window in [w for w in self.counts if w.number < self.final]:
            for held in (self.counts, self.rows, self.first_offsets, self.first_times):
                del held[window]

    def earliest(self, partition: int, position: int) -> int:
        """Offset of the partition's first row in a window that is not final."""
        return min((f[partition] for f in self.first_offsets.values() if partition in f), default=position)

    def _end(self, window: Window) -> int:
        return (window.number + 1) * self.span

    def _psi(self, window: Window) -> dict[str, float]:
        counts = self.counts[window]
        return {b.feature: psi(b, counts[b.feature]) for b in self.baselines[window.model_id]}

    def _moved(self, window: Window) -> frozenset[str]:
        counts = self.counts[window]
        return frozenset(b.feature for b in self.baselines[window.model_id] if not by_chance(b, counts[b.feature]))

    def _whole(self, window: Window) -> bool:
        return self.first_times[window] - window.number * self.span <= self.span * WHOLE
