"""Figures of a window from its integers: the same integers, the same figures, to the last bit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.streams.monitor.tally import (
    BINS,
    CURVE,
    FIRST_OF_CURVE,
    LOSS,
    NEGATIVE,
    NO_LABEL,
    NO_SCORE,
    POINT,
    POSITIVE,
    PREDICTED,
    SCORE,
    SQUARE,
    Counts,
    Integers,
)

HALF = BINS // 2
"""First bin of scores that say 1."""


class Figure(NamedTuple):
    """A figure, the records it was measured on, and for a histogram or a curve its numbers."""

    value: float
    records: int
    bins: tuple[float, ...] = ()


def figures(counts: Counts, sums: Integers) -> dict[str, Figure]:
    """The figures of one row of a tally, by name; those that are not defined are left out.

    Args:
        counts: int64 (3, BINS + 1), see :class:`headrace.streams.monitor.tally.Tally`.
        sums: int64 (WIDTH,).
    """
    return _of_scores(counts[PREDICTED], int(sums[SCORE])) | _of_labels(counts, sums)


def auc(negative: Integers, positive: Integers) -> float:
    """Area under the ROC curve from counts by bin of score: the share of pairs of a 0 and a 1 in which the 1 has the
    higher score, pairs in one bin counting half.

    It is off by at most half the share of pairs that stand in one bin: sum(n_b p_b) / (2 N P).
    Source: Hanley and McNeil, Radiology 143 (1982).
    """
    below = np.cumsum(negative) - negative
    twice = sum(p * (2 * b + n) for p, b, n in zip(positive.tolist(), below.tolist(), negative.tolist(), strict=True))
    return float(twice / (2 * int(negative.sum()) * int(positive.sum())))


def _of_scores(counts: Integers, score_sum: int) -> dict[str, Figure]:
    every, scored = int(counts.sum()), int(counts[:NO_SCORE].sum())
    found = {"predictions": Figure(every, every)}
    if every > scored:
        found["invalid_scores"] = Figure(every - scored, every)
    if scored:
        found["score_histogram"] = Figure(scored, scored, _coarse(counts))
        found["score_mean"] = Figure(score_sum / (POINT * scored), scored)
        found["positive_rate"] = Figure(int(counts[HALF:NO_SCORE].sum()) / scored, scored)
    return found


def _of_labels(counts: Counts, sums: Integers) -> dict[str, Figure]:
    odd = int(sums[NO_LABEL])
    labels = int(counts[NEGATIVE].sum() + counts[POSITIVE].sum())
    predictions = int(counts[PREDICTED].sum())
    found = {"labels": Figure(labels, labels)}
    if odd:
        found["invalid_labels"] = Figure(odd, labels + odd)
    if predictions:
        # An outcome may be read before its prediction: the share is then none, not less.
        found["labels_missing"] = Figure(max(0, predictions - labels - odd) / predictions, predictions)
    if labels:
        found["label_rate"] = Figure(int(counts[POSITIVE].sum()) / labels, labels)
    negative, positive = counts[NEGATIVE, :NO_SCORE], counts[POSITIVE, :NO_SCORE]
    n, p = int(negative.sum()), int(positive.sum())
    if p:
        found["true_positive_rate"] = Figure(int(positive[HALF:].sum()) / p, p)
    if n:
        found["false_positive_rate"] = Figure(int(negative[HALF:].sum()) / n, n)
    if n and p:
        found["auc"] = Figure(auc(negative, positive), n + p)
    if n + p:
        found["log_loss"] = Figure(int(sums[LOSS]) / (POINT * (n + p)), n + p)
        found["brier"] = Figure(int(sums[SQUARE]) / (POINT * (n + p)), n + p)
        found["calibration_error"] = _calibration(negative, positive, sums[FIRST_OF_CURVE:])
    return found


def _calibration(negative: Integers, positive: Integers, scores: Integers) -> Figure:
    """Expected calibration error: the mean, over records, of how far the share of 1 in a record's bin is from the
    mean score there.

    Source: Naeini, Cooper and Hauskrecht, AAAI 2015; on 20 equal bins.
    """
    ones = _coarse(positive)
    counts = [n + p for n, p in zip(_coarse(negative), ones, strict=True)]
    sums = [s / POINT for s in scores.tolist()]
    total = int(sum(counts))
    error = sum(abs(p - s) for p, s in zip(ones, sums, strict=True)) / total
    means = [s / c if c else 0.0 for s, c in zip(sums, counts, strict=True)]
    rates = [p / c if c else 0.0 for p, c in zip(ones, counts, strict=True)]
    return Figure(error, total, (*counts, *means, *rates))


def _coarse(counts: Integers) -> tuple[float, ...]:
    return tuple(float(c) for c in counts[:BINS].reshape(CURVE, -1).sum(axis=1))
