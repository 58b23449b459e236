"""A boosted ensemble of small trees, scored without onnxruntime and with its very bits.

onnxruntime walks each row down each tree, and the processor foresees few of the branches: 100 trees of 31 leaves take
2.2 us a row, 1.5 us where rows are sorted first. :mod:`headrace.models.score.trees_kernel` takes 0.34 us. It is used
only where it gives the bits of onnxruntime on every row of :meth:`Trees.probes`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx

from headrace.codec.column import read_only
from headrace.models.score.ensemble import Ensemble
from headrace.models.score.feeding import Matrix
from headrace.models.score.trees_kernel import LEAVES, score_trees

PROBES = 4096
LARGEST = 2 << 20
"""Bytes of a model that is looked into: its nodes become Python objects, so a huge one must not."""


class _Node(NamedTuple):
    missing_true: bool
    feature: int
    threshold: float
    kept: int


class Trees:
    """Trees as the kernel takes them.

    Args:
        ensemble: of a binary classifier: its leaves have one weight each, its scores are logistic.
        width: how many features a row has.

    Raises:
        ValueError, LookupError, TypeError: it is something else, asks for a feature that rows do not have, or a tree
            has more than 32 leaves.
    """

    def __init__(self, ensemble: Ensemble, width: int) -> None:
        fields = ensemble.fields
        if fields["post_transform"] != b"LOGISTIC" or len(fields["classlabels_int64s"]) != 2:
            raise ValueError("not logistic, or not of two classes")
        if not {*fields["nodes_modes"]} <= {b"LEAF", b"BRANCH_LEQ"}:
            raise ValueError("a node asks for something else than whether a feature is at most a threshold")
        at = zip(fields["class_treeids"], fields["class_nodeids"], strict=True)
        places = [ensemble.where[where] for where in at]
        weights = dict(zip(places, fields["class_weights"], strict=True))
        if len(weights) != len(places) or len({*fields["class_ids"]}) != 1:
            raise ValueError("a leaf has several weights")
        nodes: list[_Node] = []
        starts = [0]
        self._leaves = np.zeros((len(ensemble.roots), LEAVES), dtype=np.float32)
        for tree, root in enumerate(ensemble.roots):
            branches, values = _laid_out(ensemble, root, weights)
            nodes += sorted(branches)
            starts += [starts[-1] + sum(not n.missing_true for n in branches), len(nodes)]
            self._leaves[tree, : len(values)] = values
        if not {n.feature for n in nodes} <= {*range(width)}:
            raise ValueError("a feature that rows do not have")
        self._width = width
        self._features = np.array([n.feature for n in nodes], dtype=np.int64)
        self._thresholds = np.array([n.threshold for n in nodes], dtype=np.float32)
        self._kept = np.array([n.kept for n in nodes], dtype=np.uint32)
        self._starts = np.array(starts, dtype=np.int64)
        (base,) = fields.get("base_values") or [0.0]
        self._base = np.float32(base)

    @classmethod
    def read(cls, model: bytes, output: str, width: int) -> Trees | None:
        """The trees of a model that is nothing but such an ensemble over ``width`` features; None for any other.

        Args:
            model: ONNX bytes, which onnxruntime has taken.
            output: the scores'.
        """
        if len(model) > LARGEST:
            return None
        graph = onnx.load_from_string(model).graph
        names = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
        others = [node for node in graph.node if node.op_type != "Identity"]
        try:
            (node,) = others
            if node.op_type != "TreeEnsembleClassifier" or node.output[1] != names.get(output, output):
                return None
            return cls(Ensemble.of(node), width)
        except (LookupError, TypeError, ValueError):
            return None

    def score(self, rows: Matrix) -> Matrix:
        """Probability of 1: float32 (n, width) -> float32 (n, 1).

        Raises:
            ValueError: the rows have another width.
        """
        if rows.shape[1] != self._width:
            raise ValueError(f"rows of {rows.shape[1]} features; these trees take {self._width}")
        scores = np.empty((len(rows), 1), dtype=np.float32)
        score_trees(
            read_only(rows),
            self._features,
            self._thresholds,
            self._kept,
            self._starts,
            self._leaves,
            self._base,
            scores,
        )
        return scores

    def probes(self) -> Matrix:
        """Rows on the thresholds, a step beside them, far away, and missing: float32 (4096, width)."""
        random = np.random.default_rng(0)
        rows = np.zeros((PROBES, self._width), dtype=np.float32)
        for feature in range(self._width):
            at = np.append(self._thresholds[self._features == feature], np.float32(0))
            beside = [np.nextafter(at, np.float32(towards)) for towards in (-np.inf, np.inf)]
            rows[:, feature] = random.choice(np.concatenate([at, *beside, at, [-np.inf, np.inf]]), PROBES)
        rows[random.random(rows.shape) < 0.02] = np.nan
        return rows


def _laid_out(ensemble: Ensemble, root: int, weights: dict[int, float]) -> tuple[list[_Node], list[float]]:
    """A tree's branching nodes, and the values of its leaves from left to right.

    Raises:
        ValueError: it has more than 32 leaves, or a leaf that weighs nothing.
    """
    fields = ensemble.fields
    missing = fields.get("nodes_missing_value_tracks_true") or [0] * len(ensemble.where)
    branches: list[_Node] = []
    values: list[float] = []
    ahead: list[tuple[int, int | None]] = [(root, None)]
    while ahead:
        place, first = ahead.pop()
        if first is not None:  # everything below its true side has been laid out since
            below = (1 << len(values)) - (1 << first)
            kept = ~below & ((1 << LEAVES) - 1)
            feature, threshold = fields["nodes_featureids"][place], fields["nodes_values"][place]
            branches.append(_Node(bool(missing[place]), feature, threshold, kept))
        elif place in ensemble.true:
            ahead += [(ensemble.false[place], None), (place, len(values)), (ensemble.true[place], None)]
        else:
            values.append(weights[place])
        if len(values) > LEAVES or len(ahead) > 3 * LEAVES:
            raise ValueError("a tree of more than 32 leaves")
    return branches, values
