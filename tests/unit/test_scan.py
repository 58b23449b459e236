"""What the platform trains passes the scan; the hostile kinds are refused by it or by what comes after."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from headrace.errors import ModelRejected
from headrace.jobs.train.export import to_onnx_bytes
from headrace.models.package.scan import scan
from tests.hostile_models import ONNX

SCANNED = {n: r for n, r in ONNX.items() if r[1].startswith(("its ", "it uses", "it needs", "it defines", "it has a"))}


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(MinMaxScaler(), MLPClassifier((4,), max_iter=5)),
        GradientBoostingClassifier(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3),
        RandomForestClassifier(n_estimators=3),
    ],
    ids=lambda m: type(m).__name__,
)
def test_what_is_trained_here_passes(model: Any) -> None:
    random = np.random.default_rng(1)
    x = random.random((100, 3)).astype(np.float32)
    with warnings.catch_warnings(action="ignore"):
        fitted = model.fit(x, x[:, 0] > 0.5)
    scan("a" * 64, to_onnx_bytes(fitted, 3))


@pytest.mark.parametrize("name", SCANNED)
def test_what_a_model_may_not_hold_is_refused_with_its_name(name: str) -> None:
    build, reason = SCANNED[name]
    with pytest.raises(ModelRejected) as refused:
        scan("a" * 64, build().SerializeToString())
    assert str(refused.value) == f"model {'a' * 12}: {reason}"
