"""What would have been decided otherwise, and how far the scores lie apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from headrace.jobs.whatif.figures import MODELS
from headrace.models.metrics import Scores
from headrace.models.psi import baseline_of, binned, psi

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Flips:
    """Decisions at a threshold: yes where the score is at or over it.

    The first four count all rows with both scores, as production -> candidate. ``better`` and ``worse`` count the
    flips among the rows that are judged: the candidate decided as the label says, or production had.
    """

    threshold: float
    no_no: int
    no_yes: int
    yes_no: int
    yes_yes: int
    better: int
    worse: int

    @property
    def flips(self) -> int:
        """Decisions that change."""
        return self.no_yes + self.yes_no

    @property
    def rows(self) -> int:
        """Decisions in all."""
        return self.flips + self.no_no + self.yes_yes


@dataclass(frozen=True)
class Shift:
    """How the candidate's scores lie to production's, over all rows with both.

    Attributes:
        mean: mean of candidate less production.
        mean_absolute: mean of its size.
        largest: the largest size.
        psi: population stability index over the tenths of production's scores.
        quantiles: model -> its scores' quantiles at QUANTILES.
    """

    mean: float
    mean_absolute: float
    largest: float
    psi: float
    quantiles: dict[str, tuple[float, ...]]


def flips(compared: pl.DataFrame, judged: pl.DataFrame, threshold: float) -> Flips:
    """Count the decisions of rows with both scores, and weigh the flips among the judged rows."""
    was, would = (_scores(compared, name) >= threshold for name in MODELS)
    before, after = (_scores(judged, name) >= threshold for name in MODELS)
    right = after == (judged["label"].to_numpy() == 1)
    flipped = before != after
    return Flips(
        threshold,
        no_no=int(np.sum(~was & ~would)),
        no_yes=int(np.sum(~was & would)),
        yes_no=int(np.sum(was & ~would)),
        yes_yes=int(np.sum(was & would)),
        better=int(np.sum(flipped & right)),
        worse=int(np.sum(flipped & ~right)),
    )


def shift(compared: pl.DataFrame) -> Shift | None:
    """How far the scores lie apart; None for no rows."""
    if compared.is_empty():
        return None
    p, c = (_scores(compared, name) for name in MODELS)
    tenths = baseline_of("score", p)
    quantiles = {n: tuple(np.quantile(s, QUANTILES).tolist()) for n, s in zip(MODELS, (p, c), strict=True)}
    apart = c - p
    index = psi(tenths, binned(tenths.edges, c))
    return Shift(float(apart.mean()), float(np.abs(apart).mean()), float(np.abs(apart).max()), index, quantiles)


def _scores(rows: pl.DataFrame, name: str) -> Scores:
    return rows[name].to_numpy().astype(np.float64)
