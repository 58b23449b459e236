"""How far a feature's distribution has moved from the baseline in a model's manifest."""

from __future__ import annotations

import numpy as np

from headrace.schema.records import FeatureBaseline

Counts = np.ndarray[tuple[int], np.dtype[np.int64]]
FLOOR = 1e-4
"""Least share of a bin in the index, so that an empty bin does not make it infinite."""


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
