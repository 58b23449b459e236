"""What a window keeps of scores and labels: integers alone, so that no order and no split into batches changes them."""

from __future__ import annotations

import numpy as np

from headrace.models.metrics import CLIP

Integers = np.ndarray[tuple[int], np.dtype[np.int64]]
Codes = np.ndarray[tuple[int, int], np.dtype[np.int32]]
Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]
Counts = np.ndarray[tuple[int, int], np.dtype[np.int64]]

BINS = 1000
"""Equal bins of scores over [0, 1], the last one closed; 0.5 is an edge."""
NO_SCORE = BINS
"""Place, after the bins, of scores that are no probability: outside [0, 1], or no number."""
CURVE = 20
"""Bins of the calibration curve, each of BINS / CURVE."""
POINT = 2**30
"""One, in the fixed point of the sums: each is exact to 2^-31 a record, and holds 5e8 records at the worst."""
PREDICTED, NEGATIVE, POSITIVE = 0, 1, 2
"""What is counted by bin: predictions, outcomes of label 0, outcomes of label 1."""
SCORE, LOSS, SQUARE, NO_LABEL, FIRST_OF_CURVE = 0, 1, 2, 3, 4
"""Sums: scores of predictions; log loss and squared error of outcomes; how many outcomes have a label that is neither
0 nor 1; and from there on the scores of outcomes by bin of the curve."""
WIDTH = FIRST_OF_CURVE + CURVE


class Tally:
    """The integers of one model, route and window, one row for all records and one for each group.

    Each row is 24 KiB.

    Attributes:
        counts: int64 (rows, 3, BINS + 1), records by what they are and the bin of their score.
        sums: int64 (rows, WIDTH), fixed point but for NO_LABEL.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((1, 3, BINS + 1), dtype=np.int64)
        self.sums = np.zeros((1, WIDTH), dtype=np.int64)

    def add_predictions(self, scores: Numbers, groups: Codes) -> None:
        """Count predictions.

        Args:
            scores: (n,).
            groups: (n, columns), the row of the group that each record is in by each column; 0: not known.
        """
        rows, of = self._rows(groups)
        bins = _bins(scores)
        self._count(rows, PREDICTED, bins[of])
        self._sum(rows, SCORE, _fixed(np.where(bins == NO_SCORE, 0.0, scores))[of])

    def add_outcomes(self, scores: Numbers, labels: Numbers, groups: Codes) -> None:
        """Count outcomes; arguments as in :meth:`add_predictions`, with labels (n,) of 0 and 1."""
        rows, of = self._rows(groups)
        positive, bins = labels == 1, _bins(scores)
        sound = positive | (labels == 0)
        self._sum(rows, NO_LABEL, (~sound).astype(np.int64)[of])
        labelled = sound[of]
        rows, of = rows[labelled], of[labelled]
        self._count(rows, np.where(positive, POSITIVE, NEGATIVE)[of], bins[of])
        usable = sound & (bins != NO_SCORE)
        scored = usable[of]
        rows, of = rows[scored], of[scored]
        scores = np.where(usable, scores, 0.0)
        likely = np.clip(np.where(positive, scores, 1 - scores), CLIP, 1 - CLIP)
        error = np.where(usable, scores - labels, 0.0)
        self._sum(rows, LOSS, _fixed(-np.log(likely))[of])
        self._sum(rows, SQUARE, _fixed(error * error)[of])
        curve = FIRST_OF_CURVE + np.minimum(bins, BINS - 1) // (BINS // CURVE)
        self._sum(rows, curve[of], _fixed(scores)[of])

    def _rows(self, groups: Codes) -> tuple[Integers, Integers]:
        """Every row that each record counts in, and which record that is."""
        n, columns = groups.shape
        rows = np.concatenate([np.zeros(n, dtype=np.int64), groups.T.ravel().astype(np.int64)])
        of = np.tile(np.arange(n), 1 + columns)
        known = rows > 0
        known[:n] = True
        if not known.all():
            rows, of = rows[known], of[known]
        self._grow(int(rows.max(initial=0)) + 1)
        return rows, of

    def _grow(self, rows: int) -> None:
        missing = rows - len(self.counts)
        if missing > 0:
            self.counts = np.concatenate([self.counts, np.zeros((missing, *self.counts.shape[1:]), dtype=np.int64)])
            self.sums = np.concatenate([self.sums, np.zeros((missing, WIDTH), dtype=np.int64)])

    def _count(self, rows: Integers, kinds: Integers | int, bins: Integers) -> None:
        np.add.at(self.counts.reshape(-1), (rows * 3 + kinds) * (BINS + 1) + bins, 1)

    def _sum(self, rows: Integers, places: Integers | int, values: Integers) -> None:
        np.add.at(self.sums.reshape(-1), rows * WIDTH + places, values)


def _bins(scores: Numbers) -> Integers:
    sound = (scores >= 0) & (scores <= 1)
    bins = np.where(sound, scores, 0.0) * BINS
    return np.where(sound, np.minimum(bins.astype(np.int64), BINS - 1), NO_SCORE)


def _fixed(values: Numbers) -> Integers:
    return np.rint(values * POINT).astype(np.int64)
