"""The algorithms a pipeline may train, each a function from training set to fitted scikit-learn model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from headrace.declare.pipeline import Pipeline
from headrace.jobs.train.dataset import Part


class Fitted(NamedTuple):
    """A fitted model and the parameters it was fitted with."""

    model: Any
    parameters: dict[str, str]


def logistic(pipeline: Pipeline, train: Part) -> Fitted:
    """Logistic regression: categorical features one-hot, the others standardised."""
    codes = [pipeline.inputs.index(c) for c in pipeline.categorical]
    others = [i for i in range(len(pipeline.inputs)) if i not in codes]
    transform = ColumnTransformer(
        [("codes", OneHotEncoder(handle_unknown="ignore"), codes), ("numbers", StandardScaler(), others)]
    )
    settings = {"C": 1.0, "max_iter": 100, "tol": 1e-3}
    model = make_pipeline(transform, LogisticRegression(**settings, random_state=pipeline.training.seed))
    model.fit(train.x, train.y)
    return Fitted(model, {k: str(v) for k, v in settings.items()})


def boosting(pipeline: Pipeline, train: Part) -> Fitted:
    """Gradient boosting over histograms, 100 trees. No scaler before it: scaling moves values across thresholds."""
    settings = {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 31, "min_samples_leaf": 50}
    model = HistGradientBoostingClassifier(**settings, early_stopping=False, random_state=pipeline.training.seed)
    model.fit(train.x, train.y)
    _thresholds_to_single(model)
    return Fitted(model, {k: str(v) for k, v in settings.items()})


def _thresholds_to_single(model: HistGradientBoostingClassifier) -> None:
    """Lower each threshold to the next 32-bit float.

    ONNX keeps thresholds in 32 bits. A threshold halfway between two neighbouring inputs can round up onto the
    upper one, which then changes sides. Inputs are 32-bit floats, so ``x <= t`` and ``x <= floor32(t)`` are the
    same: the model stays what it was, and its export is exact.
    """
    for trees in model._predictors:
        for tree in trees:
            threshold = tree.nodes["num_threshold"]
            single = threshold.astype(np.float32)
            tree.nodes["num_threshold"] = np.where(
                single > threshold, np.nextafter(single, np.float32(-np.inf)), single
            )


ALGORITHMS: dict[str, Callable[[Pipeline, Part], Fitted]] = {"logistic": logistic, "boosting": boosting}
