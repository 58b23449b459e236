"""Figures of merit of two models on the same rows, and how sure their difference is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from headrace.models.metrics import CLIP, Scores, binary_metrics

SURE = 1.96
"""Standard errors on either side of a mean within which 95 % of samples' means lie."""
MODELS = ("production", "candidate")
Verdict = Literal["better", "worse", "no clear difference"]

COMPARED = pl.col("production").is_finite() & pl.col("candidate").is_not_null()
"""Rows with a score of both."""
LABELLED = pl.col("label").is_in([0.0, 1.0])
"""Rows with a label that the target can have."""
JUDGED = COMPARED.fill_null(False) & LABELLED.fill_null(False)


@dataclass(frozen=True)
class Merit:
    """AUC (None: the rows hold one class only), log loss and Brier score."""

    auc: float | None
    log_loss: float
    brier: float


@dataclass(frozen=True)
class Comparison:
    """Two models on the same labelled rows.

    Attributes:
        rows: how many.
        base_rate: share of label 1.
        difference: the candidate's figures less production's.
        margin: half the 95 % interval of the difference in log loss, from the rows' paired differences, each taken as
            independent of the others; None for one row.
    """

    rows: int
    base_rate: float
    production: Merit
    candidate: Merit
    difference: Merit
    margin: float | None

    @property
    def verdict(self) -> Verdict:
        """Whether the candidate's log loss is better: the interval of the difference does not hold 0."""
        if self.margin is None or abs(self.difference.log_loss) <= self.margin:
            return "no clear difference"
        return "better" if self.difference.log_loss < 0 else "worse"


def compare(judged: pl.DataFrame) -> Comparison | None:
    """Both models on rows that all have both scores and a label; None for no rows."""
    if judged.is_empty():
        return None
    y = judged["label"].to_numpy().astype(np.float64)
    p, c = (judged[name].to_numpy().astype(np.float64) for name in MODELS)
    figures = binary_metrics(y, p)
    production, candidate = _merit(figures), _merit(binary_metrics(y, c))
    auc = None if production.auc is None or candidate.auc is None else candidate.auc - production.auc
    difference = Merit(auc, candidate.log_loss - production.log_loss, candidate.brier - production.brier)
    paired = log_losses(y, c) - log_losses(y, p)
    margin = float(SURE * paired.std(ddof=1) / np.sqrt(len(y))) if len(y) > 1 else None
    return Comparison(len(y), figures["base_rate"], production, candidate, difference, margin)


def log_losses(y: Scores, p: Scores) -> Scores:
    """Log loss of each row, (n,): -ln of the probability given to what came."""
    clipped = np.clip(p, CLIP, 1 - CLIP)
    return np.asarray(-np.log(np.where(y == 1, clipped, 1 - clipped)))


def _merit(figures: dict[str, float]) -> Merit:
    auc = figures["auc"]
    return Merit(None if np.isnan(auc) else auc, figures["log_loss"], figures["brier"])
