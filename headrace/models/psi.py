"""How far a feature's distribution has moved from the baseline in a model's manifest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from headrace.schema.records import FeatureBaseline

Counts = np.ndarray[tuple[int], np.dtype[np.int64]]
Values = np.ndarray[tuple[int], np.dtype[np.floating[Any]]]
BINS = 10
"""Quantiles that a baseline is cut at, and one more."""
_Z = 4.265
"""Quantile of the normal distribution: one in 100,000 is over it. A year has 52 windows, a model dozens of features."""
FLOOR = 1e-4
"""Least share of a bin in the index, so that an empty bin does not make it infinite."""


def baseline_of(feature: str, values: Values) -> FeatureBaseline:
    """Distribution of a feature, in bins that hold the values v with edge[i-1] < v <= edge[i].

    The bins are cut at the quantiles, a tenth of the values each. A value that is a tenth of them or more has a bin of
    its own, so that a move to either side of it shows; the first and the last bin are outside the values, and empty.

    Args:
        feature: its name.
        values: (n,), finite; what is binned later must be rounded to the same type.
    """
    distinct, counts = np.unique(values, return_counts=True)
    alone = distinct[counts * BINS >= len(values)]
    below = np.nextafter(np.append(alone, distinct[0]), values.dtype.type(-np.inf)).astype(np.float64)
    cuts = np.quantile(values.astype(np.float64), np.linspace(0, 1, BINS + 1)[1:-1])
    edges = np.unique(np.concatenate([cuts, below, alone.astype(np.float64), distinct[-1:].astype(np.float64)]))
    shares = binned(edges, values) / len(values)
    return FeatureBaseline(feature=feature, edges=edges.tolist(), shares=shares.tolist(), rows=len(values))


def binned(edges: list[float] | Values, values: Values) -> Counts:
    """How many of the values, (n,), are in each of the bins between edges."""
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)


def by_chance(baseline: FeatureBaseline, counts: Counts) -> bool:
    """Whether so many rows of the very same distribution may well give these counts, however few the rows are.

    The index of n rows against m is then (1/n + 1/m) times chi-squared, its degrees of freedom one fewer than the
    bins; those outside the values count as one here. In few rows an empty bin would make the index far larger than
    that: here it counts as half a row, and so does one of the baseline. Simulated with a quantile ten times less strict
    on 1 to 50 rows a bin and seven distributions, at most 7 in 10,000 windows were taken for a move.

    Source: Yurdakul, Statistical Properties of Population Stability Index, Western Michigan University (2018); the
    quantile of chi-squared by Wilson and Hilferty, Proceedings of the National Academy of Sciences 17 (1931).
    """
    shares, rows = np.array(baseline.shares), int(counts.sum())
    if not rows:
        return True
    half = 1 / (2 * baseline.rows) if baseline.rows else 0.0
    expected = np.maximum(shares, max(half, FLOOR))
    actual = np.where(counts == 0, np.minimum(1 / (2 * rows), expected), counts / rows)
    held = (shares > 0) | (counts > 0)
    found = float(np.sum(((actual - expected) * np.log(actual / expected))[held]))
    degrees = max(int((shares > 0).sum()), 1)
    spread = 2 / (9 * degrees)
    quantile = degrees * (1 - spread + _Z * math.sqrt(spread)) ** 3
    return found <= quantile * (1 / rows + 2 * half)


def psi(baseline: FeatureBaseline, counts: Counts) -> float:
    """Population stability index: sum over bins of (a - e) ln(a / e), a the window's share and e the baseline's.

    Source: Siddiqi, Credit Risk Scorecards (2006): under 0.1 stable, over 0.25 a major shift.
    """
    actual = np.maximum(counts / max(int(counts.sum()), 1), FLOOR)
    expected = np.maximum(np.array(baseline.shares), FLOOR)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def ks(baseline: FeatureBaseline, counts: Counts) -> float:
    """Kolmogorov-Smirnov distance at the baseline's bin edges: the largest difference of the cumulative shares.

    Between the edges nothing is known, so that the distance over all values is at least this.
    Source: Smirnov, Annals of Mathematical Statistics 19 (1948).
    """
    actual = np.cumsum(counts) / max(int(counts.sum()), 1)
    return float(np.max(np.abs(actual - np.cumsum(baseline.shares))[:-1], initial=0.0))
