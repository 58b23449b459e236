"""The error of the model that rules, once labels come: a drift detector a partition, and figures a window."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
from river.drift import PageHinkley

from headrace.pipeline import Drift
from streams.monitor.psi import Window
from streams.retrain.scores import binary_metrics


@dataclass
class ErrorWatch:
    """Page-Hinkley test on the champion's mean error over each span of event time, one partition, in log order.

    Single errors come in streaks (one storm, one bad afternoon), which a test on each would take for drift.
    Source: Page, Continuous Inspection Schemes, Biometrika 41 (1954); as in river.
    The test starts anew when a newer champion's outcomes begin; those of older ones are passed over.
    """

    drift: Drift
    began: int = 0
    _rank: int = -1
    _span: int = -1
    _sum: float = 0.0
    _count: int = 0
    _test: Any = field(init=False)

    def __post_init__(self) -> None:
        self._restart()

    def update(self, rank: int, offset: int, time: int, error: float) -> bool:
        """Take one outcome of the champion ranked ``rank`` in order of activation; True when its error has risen.

        ``time`` is the event time of the scored record in microseconds, ``error`` in [0, 1].
        """
        if rank < self._rank:
            return False
        if rank > self._rank:
            self._rank, self.began = rank, offset
            self._restart()
        span = time // (self.drift.error_every // timedelta(microseconds=1))
        rose = False
        if span > self._span:
            if self._count:
                self._test.update(self._sum / self._count)
                rose = bool(self._test.drift_detected)
            if rose:
                self.began = offset
                self._restart()
            self._span, self._sum, self._count = span, 0.0, 0
        self._sum += error
        self._count += 1
        return rose

    def _restart(self) -> None:
        self._span, self._sum, self._count = -1, 0.0, 0
        self._test = PageHinkley(
            min_instances=7, delta=self.drift.error_slack, threshold=self.drift.error_threshold, mode="up"
        )


@dataclass
class OutcomeWindows:
    """Scores and labels of each model for each open window of event time, over all partitions of this worker."""

    span: int
    pairs: dict[Window, list[tuple[float, float]]] = field(default_factory=dict)
    first_offsets: dict[Window, dict[int, int]] = field(default_factory=dict)

    def add(self, model_id: str, time: int, partition: int, offset: int, label: float, score: float) -> None:
        """Take one outcome."""
        window = Window(model_id, time // self.span)
        self.pairs.setdefault(window, []).append((label, score))
        self.first_offsets.setdefault(window, {}).setdefault(partition, offset)

    def close_before(self, time: int) -> list[tuple[Window, dict[str, float]]]:
        """Figures of the windows that end at or before ``time`` (microseconds), which are taken out."""
        done = sorted((w for w in self.pairs if (w.number + 1) * self.span <= time), key=lambda w: w.number)
        closed = []
        for window in done:
            del self.first_offsets[window]
            pairs = np.array(self.pairs.pop(window))
            closed.append((window, binary_metrics(pairs[:, 0], pairs[:, 1])))
        return closed

    def earliest(self, partition: int, position: int) -> int:
        """Offset of the partition's first outcome in an open window."""
        return min((f[partition] for f in self.first_offsets.values() if partition in f), default=position)
