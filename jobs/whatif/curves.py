"""Curves of both models: how their scores are spread, and how often what they foretell comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from headrace.jobs.whatif.figures import MODELS
from headrace.models.metrics import Scores

BARS = 20
POINTS = 10


@dataclass(frozen=True)
class Point:
    """Rows of like score: their mean score, the share of them with label 1, their number."""

    score: float
    share: float
    rows: int


@dataclass(frozen=True)
class Curves:
    """What the plots show.

    Attributes:
        spread: model -> number of rows in each of BARS equal parts of [0, 1]; all rows with both scores.
        calibration: model -> points, from the least score on; the judged rows.
    """

    spread: dict[str, tuple[int, ...]]
    calibration: dict[str, tuple[Point, ...]]


def curves(compared: pl.DataFrame, judged: pl.DataFrame) -> Curves:
    """Both models' curves."""
    y = judged["label"].to_numpy().astype(np.float64)
    return Curves(
        {n: _spread(compared[n].to_numpy()) for n in MODELS},
        {n: calibration(y, judged[n].to_numpy().astype(np.float64)) for n in MODELS},
    )


def calibration(y: Scores, p: Scores) -> tuple[Point, ...]:
    """A reliability curve: rows in tenths of their scores, equal scores together.

    Source: Niculescu-Mizil and Caruana, Predicting good probabilities (2005), with tenths of equal number in place of
    tenths of equal width, as scores crowd together.
    """
    if not len(p):
        return ()
    edges = np.unique(np.quantile(p, np.arange(1, POINTS) / POINTS))
    places = np.searchsorted(edges, p, side="left")
    counts = np.bincount(places, minlength=len(edges) + 1)
    scores, shares = (np.bincount(places, weights=w, minlength=len(edges) + 1) for w in (p, y))
    return tuple(
        Point(float(s / n), float(share / n), int(n)) for s, share, n in zip(scores, shares, counts, strict=True) if n
    )


def _spread(p: np.ndarray[tuple[int], np.dtype[np.float32]]) -> tuple[int, ...]:
    counts, _ = np.histogram(np.clip(p, 0, 1), bins=BARS, range=(0, 1))
    return tuple(int(c) for c in counts)
