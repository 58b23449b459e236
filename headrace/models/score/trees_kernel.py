"""The kernel that scores rows with small trees: no branch depends on a row, so none is ever foreseen wrongly.

QuickScorer (Lucchese et al., SIGIR 2015), by blocks of rows as in V-QuickScorer (SIGIR 2016). A tree's leaves are
bits, the leftmost the lowest. Every branching node whose answer is false strikes out the leaves below its true side;
the lowest bit left is the leaf that a walk from the root ends in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from headrace.codec.column import read_only
from headrace.codec.compiled import compiled

if TYPE_CHECKING:
    from headrace.models.score.feeding import Matrix

    Features = np.ndarray[tuple[int], np.dtype[np.int64]]
    Floats = np.ndarray[tuple[int], np.dtype[np.float32]]
    Masks = np.ndarray[tuple[int], np.dtype[np.uint32]]

LEAVES = 32
"""The most leaves a tree may have: bits of a mask."""
BLOCK = 128
"""Rows at a time. Known when the kernel is compiled: loops over them become vector instructions."""


@compiled
def score_trees(
    rows: Matrix,
    features: Features,
    thresholds: Floats,
    kept: Masks,
    starts: Features,
    leaves: Matrix,
    base: np.float32,
    scores: Matrix,
) -> None:
    """Fill ``scores``, float32 (n, 1), with 1 / (1 + exp(-sum of a row's leaves, in the order of the trees, - base)).

    Args:
        rows: float32 (n, columns).
        features: the column each node asks for; the nodes of a tree stand together.
        thresholds: a node's answer is true where the column is at most this.
        kept: the leaves that a false answer leaves.
        starts: (2 * trees + 1): a tree's first node, and its first whose answer is true for NaN as well.
        leaves: (trees, 32): their values.
        base: is added to a row's sum.
    """
    count, width = rows.shape
    columns = np.zeros((width, BLOCK), np.float32)
    left = np.empty(BLOCK, np.uint32)
    sums = np.empty(BLOCK, np.float32)
    every = np.uint32(0xFFFFFFFF)
    for first in range(0, count, BLOCK):
        size = min(BLOCK, count - first)
        for c in range(width):
            for i in range(size):
                columns[c, i] = rows[first + i, c]
        sums[:] = np.float32(0)
        for tree in range(len(leaves)):
            left[:] = every
            for node in range(starts[2 * tree], starts[2 * tree + 1]):
                column, threshold, keep = columns[features[node]], thresholds[node], kept[node]
                for i in range(BLOCK):
                    left[i] &= every if column[i] <= threshold else keep
            for node in range(starts[2 * tree + 1], starts[2 * tree + 2]):
                column, threshold, keep = columns[features[node]], thresholds[node], kept[node]
                for i in range(BLOCK):
                    left[i] &= keep if column[i] > threshold else every
            values = leaves[tree]
            for i in range(BLOCK):
                # The bits below the lowest one, counted.
                b = (left[i] & (~left[i] + np.uint32(1))) - np.uint32(1)
                b = b - ((b >> np.uint32(1)) & np.uint32(0x55555555))
                b = (b & np.uint32(0x33333333)) + ((b >> np.uint32(2)) & np.uint32(0x33333333))
                b = (b + (b >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
                sums[i] += values[((b * np.uint32(0x01010101)) >> np.uint32(24)) & np.uint32(31)]
        for i in range(size):
            scores[first + i, 0] = _logistic(sums[i] + base)


def prepare() -> None:
    """Have the kernel compiled, or loaded, before anything waits for it."""
    none, nothing = np.zeros(0, dtype=np.float32), np.zeros((0, LEAVES), dtype=np.float32)
    places, masks = np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint32)
    score_trees(read_only(nothing), places, none, masks, places, nothing, np.float32(0), nothing)


@compiled
def _logistic(margin: np.float32) -> np.float32:
    """As onnxruntime computes it."""
    share = np.float32(1) / (np.float32(1) + np.float32(math.exp(-abs(margin))))
    return np.float32(1) - share if margin < np.float32(0) else share
