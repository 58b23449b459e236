"""The error of the model that rules, once labels come: a drift detector a partition, and figures a window."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from river.drift import ADWIN

from streams.monitor.psi import Window
from streams.retrain.scores import binary_metrics


@dataclass
class ErrorWatch:
    """ADWIN on the champion's error in one partition, in log order.

    Source: Bifet and Gavalda, Learning from Time-Changing Data with Adaptive Windowing (2007).
    The detector starts anew when a newer champion's outcomes begin; those of older ones are passed over.
    """

    delta: float
    model_id: str = ""
    began: int = 0
    rank: int = -1
    detector: Any = field(init=False)

    def __post_init__(self) -> None:
        self.detector = _adwin(self.delta)

    def update(self, model_id: str, rank: int, offset: int, error: float) -> bool:
        """Take one outcome of the champion ranked ``rank`` in order of activation; True when the error rose."""
        if rank < self.rank:
            return False
        if rank > self.rank:
            self.model_id, self.rank, self.began = model_id, rank, offset
            self.detector = _adwin(self.delta)
        before = self.detector.estimation
        self.detector.update(error)
        rose = bool(self.detector.drift_detected) and self.detector.estimation > before
        if rose:
            self.began = offset
            self.detector = _adwin(self.delta)
        return rose


def _adwin(delta: float) -> Any:
    return ADWIN(delta=delta)  # type: ignore[no-untyped-call]


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
