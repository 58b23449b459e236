"""Paired measurement: each run stands between two runs of a baseline, as the machine's own speed drifts."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.progress import Rate

Measure = Callable[[], Rate]


@dataclass
class Pairing:
    """The runs of one thing.

    Attributes:
        load: the machine's load average before the first run.
        rates: records a second of each run.
        baseline: records a second of the baseline around each run, the mean of before and after.
    """

    load: float
    rates: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Each run as a share of its baseline."""
        return [rate / base for rate, base in zip(self.rates, self.baseline, strict=True)]

    @property
    def ratio(self) -> float:
        """Median of :attr:`ratios`."""
        return statistics.median(self.ratios)

    @property
    def rate(self) -> float:
        """Median of :attr:`rates`."""
        return statistics.median(self.rates)


def paired(
    baseline: Measure, cases: Mapping[str, Measure], repeats: int, say: Callable[[str, Pairing], None]
) -> dict[str, Pairing]:
    """Measure every case in turn, ``repeats`` times round, with a run of the baseline between any two.

    Args:
        baseline: what everything is a share of.
        cases: name -> what to measure.
        repeats: runs of each.
        say: told of each run when it is done.
    """
    found = {name: Pairing(os.getloadavg()[0]) for name in cases}
    before = baseline()
    for _ in range(repeats):
        for name, measure in cases.items():
            rate = measure()
            after = baseline()
            found[name].rates.append(rate.per_second)
            found[name].baseline.append((before.per_second + after.per_second) / 2)
            say(name, found[name])
            before = after
    return found
