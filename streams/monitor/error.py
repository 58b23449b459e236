"""The error of the model that rules, once labels come: a drift detector a partition."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

import numpy as np

from headrace.declare.drift import Drift
from headrace.streams.monitor.page_hinkley import PageHinkley
from headrace.streams.monitor.tally import Integers, Numbers


class Rise(NamedTuple):
    """The champion's error has risen: found at the outcome at ``place`` in the columns given, of that event time."""

    place: int
    time: int


@dataclass
class ErrorWatch:
    """Page-Hinkley test on the champion's mean error over each span of event time, one partition, in log order.

    Single errors come in streaks (one storm, one bad afternoon), which a test on each would take for drift.
    The test starts anew when a newer champion's outcomes begin; those of older ones are passed over.

    Attributes:
        began: offset of the ruling champion's first outcome: from there on the test can be made again.
    """

    drift: Drift
    began: int | None = None
    _rank: int = -1
    _span: int = -1
    _sum: float = 0.0
    _count: int = 0
    _test: PageHinkley = field(init=False)

    def __post_init__(self) -> None:
        self._restart()

    def update(self, ranks: Integers, offsets: Integers, times: Integers, errors: Numbers) -> list[Rise]:
        """Take outcomes of champions, in log order, columns of n.

        Args:
            ranks: place of each champion in the order of activation; -1: not known.
            offsets: of the outcomes.
            times: event times of the scored records in microseconds.
            errors: in [0, 1].
        """
        newest = np.maximum.accumulate(np.maximum(ranks, self._rank)) if len(ranks) else ranks
        counted = np.flatnonzero(ranks == newest)
        found: list[Rise] = []
        starts = np.flatnonzero(np.diff(ranks[counted], prepend=self._rank - 1))
        for places in np.split(counted, starts[1:]) if len(counted) else []:
            rank = int(ranks[places[0]])
            if rank > self._rank or self.began is None:
                self._rank, self.began = rank, int(offsets[places[0]])
                self._restart()
            found += [Rise(p, int(times[p])) for p in self._take(places, times[places], errors[places])]
        return found

    def _take(self, places: Integers, times: Integers, errors: Numbers) -> list[int]:
        """Places at which the error was found risen, among outcomes of one champion."""
        every = self.drift.error_every // timedelta(microseconds=1)
        spans = np.maximum.accumulate(np.maximum(times // every, self._span))
        starts = np.flatnonzero(np.diff(spans, prepend=self._span))
        found = []
        for run in np.split(np.arange(len(spans)), starts):
            if not len(run):
                continue
            if spans[run[0]] > self._span and self._ended(int(spans[run[0]])):
                found.append(int(places[run[0]]))
            # One by one from the left, as single outcomes would add up: the sum must not depend on batches.
            self._sum = float(np.cumsum(np.concatenate([[self._sum], errors[run]]))[-1])
            self._count += len(run)
        return found

    def _ended(self, span: int) -> bool:
        """The spans before this one are over: whether the error has risen with the last of them."""
        rose = False
        if self._count:
            rose = self._test.update(self._sum / self._count)
        if rose:
            self._restart()
        self._span, self._sum, self._count = span, 0.0, 0
        return rose

    def _restart(self) -> None:
        self._span, self._sum, self._count = -1, 0.0, 0
        self._test = PageHinkley(self.drift.error_slack, self.drift.error_threshold)
