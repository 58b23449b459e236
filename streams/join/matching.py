"""The rule of :mod:`headrace.streams.join.pairing` over a batch, compiled: record after record, in log order."""

from __future__ import annotations

import numpy as np

from headrace.codec.column import Places, Valid
from headrace.codec.compiled import compiled

NEVER = -(2**63)


@compiled
def first_labels(
    group: Places,
    times: Places,
    watermarks: Places,
    starts: Places,
    label_times: Places,
    label_watermarks: Places,
    horizon: int,
) -> Places:
    """For each left record, (n,), which of the labels of its id it goes with, the first that matches it; -1: none has
    come.

    Args:
        group, times, watermarks: of the left records, (n,).
        starts: where the labels of each id begin, (g + 1,).
        label_times, label_watermarks: of the labels, (k,), oldest first for each id, without duplicates.
        horizon: microseconds.
    """
    out = np.full(len(times), -1, dtype=np.int64)
    for row in range(len(times)):
        for k in range(starts[group[row]], starts[group[row] + 1]):
            if times[row] >= label_watermarks[k] - horizon and label_times[k] >= watermarks[row] - horizon:
                out[row] = k
                break
    return out


@compiled
def duplicates(
    group: Places, times: Places, watermarks: Places, newest: Places, horizon: int
) -> tuple[Valid, Valid, Valid]:
    """Which labels repeat an earlier one.

    Args:
        group, times, watermarks: of the labels, (n,).
        newest: newest time of the labels of each id so far, (g,); NEVER where there is none.
        horizon: microseconds.

    Returns:
        Whether each label is a duplicate, (n,); whether a duplicate must be found by later labels all the same, since
        its time is the newest of its id, (n,); whether one held before is not needed for that any more, (g,).
    """
    repeats = np.zeros(len(times), dtype=np.bool_)
    carries = np.zeros(len(times), dtype=np.bool_)
    passed = np.zeros(len(newest), dtype=np.bool_)
    carrier = np.full(len(newest), -1, dtype=np.int64)
    for row in range(len(times)):
        g = group[row]
        repeats[row] = newest[g] >= watermarks[row] - horizon
        if not repeats[row] or times[row] > newest[g]:
            if carrier[g] >= 0:
                carries[carrier[g]] = False
            passed[g] = True
            carrier[g] = row if repeats[row] else -1
            carries[row] = repeats[row]
        newest[g] = max(newest[g], times[row])
    return repeats, carries, passed


@compiled
def lefts_of(
    group: Places,
    times: Places,
    watermarks: Places,
    repeats: Valid,
    starts: Places,
    left_times: Places,
    left_watermarks: Places,
    taken: Valid,
    horizon: int,
) -> tuple[Places, Places]:
    """The pairs of labels that are no duplicates with the left records of their ids that no earlier label took.

    Args:
        group, times, watermarks, repeats: of the labels, (n,).
        starts: where the left records of each id begin, (g + 1,).
        left_times, left_watermarks, taken: of the left records, (k,), oldest first for each id.
        horizon: microseconds.

    Returns:
        Of each pair, (p,), the place of the label and that of the left record: by label, then by left record.
    """
    of, found = np.empty(len(taken), dtype=np.int64), np.empty(len(taken), dtype=np.int64)
    pairs = 0
    for row in range(len(times)):
        if repeats[row]:
            continue
        for k in range(starts[group[row]], starts[group[row] + 1]):
            if taken[k]:
                continue
            if left_times[k] >= watermarks[row] - horizon and times[row] >= left_watermarks[k] - horizon:
                taken[k] = True
                of[pairs], found[pairs] = row, k
                pairs += 1
    return of[:pairs].copy(), found[:pairs].copy()
