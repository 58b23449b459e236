"""Figures of merit of binary scores."""

from __future__ import annotations

import numpy as np

Scores = np.ndarray[tuple[int], np.dtype[np.float64]]

CLIP = 1e-7
"""Scores are taken as at least this and at most 1 less this, so that a sure mistake costs much and not everything."""


def binary_metrics(y: Scores, p: Scores) -> dict[str, float]:
    """AUC, log loss, Brier score and base rate of probabilities ``p`` (n,) against labels ``y`` (n,) of 0 and 1."""
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score  # half a worker's imports: not for CLIP alone

    clipped = np.clip(p, CLIP, 1 - CLIP)
    return {
        "auc": float(roc_auc_score(y, p)) if len(set(y.tolist())) == 2 else float("nan"),
        "log_loss": float(log_loss(y, clipped, labels=[0.0, 1.0])),
        "brier": float(brier_score_loss(y, clipped)),
        "base_rate": float(np.mean(y)),
        "count": float(len(y)),
    }
