"""Rows are scored in the order in which trees branch alike, and get the very scores they would get unsorted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from headrace.errors import ModelRejected
from headrace.jobs.train.export import to_onnx_bytes
from headrace.jobs.train.trees import most_split
from headrace.models.package.package import Package
from headrace.models.score.feeding import Matrix
from headrace.models.score.session import ScoringModel
from headrace.testing.models import model_package
from headrace.testing.pipelines import toy

pytestmark = pytest.mark.slow


def _fitted(model: Any, width: int = 3) -> bytes:
    """The model as ONNX, fitted on rows whose last feature decides."""
    random = np.random.default_rng(3)
    x = random.random((400, width)).astype(np.float32)
    return to_onnx_bytes(model.fit(x, (x[:, -1] + random.normal(0, 0.1, 400) > 0.5).astype(float)), width)


def _loaded(sort_by: str | None) -> ScoringModel:
    onnx = _fitted(HistGradientBoostingClassifier(max_iter=20, random_state=1), width=2)
    manifest = model_package(toy("trees"), 0).manifest
    return ScoringModel(Package(manifest.model_copy(update={"sort_by": sort_by}), onnx), reference=True)


def test_the_feature_that_decides_is_the_one_most_split_on() -> None:
    assert most_split(_fitted(HistGradientBoostingClassifier(max_iter=20, random_state=1))) == 2
    assert most_split(_fitted(GradientBoostingClassifier(n_estimators=20, random_state=1))) == 2


@pytest.mark.parametrize("model", [LogisticRegression(), HistGradientBoostingClassifier(max_iter=3)])
def test_models_without_many_trees_have_no_feature_to_sort_by(model: Any) -> None:
    assert most_split(_fitted(model)) is None


@pytest.mark.parametrize("rows", [1, 255, 256, 4000])
def test_sorting_changes_no_bit_and_no_order(rows: int) -> None:
    x: Matrix = np.round(np.random.default_rng(rows).random((rows, 2), dtype=np.float32), 1)  # with many ties
    last = model_package(toy("trees"), 0).manifest.features[-1]
    sorted_scores, scores = _loaded(last).score(x), _loaded(None).score(x)
    assert sorted_scores.shape == scores.shape == (rows, 1)
    assert sorted_scores.tobytes() == scores.tobytes()


def test_a_manifest_that_sorts_by_no_feature_of_its_own_is_refused() -> None:
    with pytest.raises(ModelRejected, match="sorted by 'height', which is no feature of it"):
        _loaded("height")
