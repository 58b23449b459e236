"""The models that score: a linear one, a small network, 100 boosted trees; fitted in a moment on random rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from headrace.declare.pipeline import Pipeline
from headrace.jobs.train.export import to_onnx_bytes
from headrace.models.package.package import Package
from headrace.testing.models import packed

Rows = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Labels = np.ndarray[tuple[int], np.dtype[np.float64]]

KINDS: dict[str, Callable[[], Any]] = {
    "linear": lambda: LogisticRegression(max_iter=500),
    "mlp": lambda: MLPClassifier((32, 16), max_iter=8, random_state=7),
    "trees100": lambda: HistGradientBoostingClassifier(  # as the platform's own boosting
        max_iter=100, max_leaf_nodes=31, min_samples_leaf=50, early_stopping=False, random_state=7
    ),
}
ROWS = 20_000
_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def random_rows(width: int, seed: int) -> tuple[Rows, Labels]:
    """Rows in [0, 1) and labels that lean on the first of their numbers."""
    random = np.random.default_rng(seed)
    x = random.random((ROWS, width)).astype(np.float32)
    return x, (x[:, 0] + random.normal(0, 0.3, ROWS) > 0.5).astype(np.float64)


@cache
def fitted(kind: str, width: int, seed: int = 7) -> Any:
    """A scikit-learn classifier of this kind, on :func:`random_rows`."""
    with warnings.catch_warnings(action="ignore"):  # a network that is not done learning scores as fast
        return KINDS[kind]().fit(*random_rows(width, seed))


def package(pipeline: Pipeline, kind: str, seed: int = 7) -> Package:
    """A model of this kind, as retrain would publish one."""
    width = len(pipeline.inputs)
    return packed(pipeline, kind, to_onnx_bytes(fitted(kind, width, seed), width), seed)
