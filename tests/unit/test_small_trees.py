"""Small trees are scored by a kernel of our own wherever it gives the bits of onnxruntime, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from headrace.jobs.train.export import to_onnx_bytes
from headrace.models.package.package import Package
from headrace.models.score.ensemble import Ensemble
from headrace.models.score.feeding import Matrix
from headrace.models.score.session import ScoringModel, open_session
from headrace.models.score.trees import PROBES, Trees
from headrace.models.score.trees_kernel import BLOCK, LEAVES, prepare, score_trees
from headrace.testing.models import model_package
from headrace.testing.pipelines import toy

pytestmark = pytest.mark.slow

WIDTH = 3
NODE_FIELDS = (
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_modes",
    "nodes_featureids",
    "nodes_values",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
)
LEAF_FIELDS = ("class_treeids", "class_nodeids", "class_ids", "class_weights")


def _ensemble(seed: int, trees: int, leaves: int, **other: Any) -> bytes:
    """Trees of random shape as ONNX; ``other`` attributes go before those a binary classifier has."""
    random = np.random.default_rng(seed)
    fields: dict[str, list[Any]] = {name: [] for name in (*NODE_FIELDS, *LEAF_FIELDS)}

    def add(tree: int, number: int, under: int) -> int:
        """A tree of ``under`` leaves, its root numbered ``number``; gives the next number."""
        place = len(fields["nodes_treeids"])
        row: list[Any] = [tree, number, "LEAF", 0, 0.0, 0, 0, 0]
        for name, value in zip(NODE_FIELDS, row, strict=True):
            fields[name].append(value)
        if under == 1:
            weight = float(np.float32(random.normal()))
            for name, value in zip(LEAF_FIELDS, (tree, number, 0, weight), strict=True):
                fields[name].append(value)
            return number + 1
        left = int(random.integers(1, under))
        middle = add(tree, number + 1, left)
        after = add(tree, middle, under - left)
        threshold = float(np.float32(random.choice([random.normal(), round(random.normal(), 1), 0.0])))
        row = ["BRANCH_LEQ", int(random.integers(WIDTH)), threshold, number + 1, middle, int(random.integers(2))]
        for name, value in zip(NODE_FIELDS[2:], row, strict=True):
            fields[name][place] = value
        return after

    for tree in range(trees):
        add(tree, 0, int(random.integers(1, leaves + 1)) if tree else leaves)
    given = {**fields, "classlabels_int64s": [0, 1], "post_transform": "LOGISTIC", "base_values": [0.25]} | other
    node = onnx.helper.make_node(
        "TreeEnsembleClassifier", ["features"], ["label", "probabilities"], domain="ai.onnx.ml", **given
    )
    return _model([node])


def _below_its_root(true: int, false: int) -> bytes:
    """A tree 0 -> (1, 4), whose node 1 has these children."""
    nodes = {"nodes_truenodeids": [1, true, 0, 0, 0], "nodes_falsenodeids": [4, false, 0, 0, 0]}
    modes = ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"]
    return _ensemble(1, 1, 3, nodes_modes=modes, class_nodeids=[2, 3, 4], **nodes)


def _model(nodes: list[onnx.NodeProto]) -> bytes:
    float32, int64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    graph = onnx.helper.make_graph(
        nodes,
        "trees",
        [onnx.helper.make_tensor_value_info("features", float32, [None, WIDTH])],
        [
            onnx.helper.make_tensor_value_info("label", int64, [None]),
            onnx.helper.make_tensor_value_info("probabilities", float32, [None, 2]),
        ],
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


def _read(model: bytes) -> Trees:
    trees = Trees.read(model, "probabilities", WIDTH)
    assert trees is not None
    return trees


def _by_onnxruntime(model: bytes, rows: Matrix) -> Matrix:
    return np.asarray(open_session(model).run(["probabilities"], {"features": rows})[0][:, 1:], dtype=np.float32)


def _fitted(model: Any, width: int = WIDTH) -> bytes:
    x = np.random.default_rng(3).random((400, width)).astype(np.float32)
    return to_onnx_bytes(model.fit(x, (x.sum(axis=1) > width / 2).astype(float)), width)


def _only(model: bytes) -> Ensemble:
    (node,) = onnx.load_from_string(model).graph.node
    return Ensemble.of(node)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(2, LEAVES), st.integers(1, 2 * BLOCK + 1))
def test_every_bit_is_that_of_onnxruntime(seed: int, trees: int, leaves: int, rows: int) -> None:
    model = _ensemble(seed, trees, leaves)
    read = _read(model)
    x: Matrix = np.random.default_rng(seed).normal(size=(rows, WIDTH)).astype(np.float32)
    for given_rows in (x, read.probes()):
        assert read.score(given_rows).tobytes() == _by_onnxruntime(model, given_rows).tobytes()


def test_probes_stand_on_thresholds_beside_them_far_away_and_are_missing() -> None:
    model = _ensemble(1, 1, 2)
    fields = _only(model).fields
    at = np.float32(fields["nodes_values"][0])
    probes = _read(model).probes()
    assert probes.shape == (PROBES, WIDTH)
    assert np.isnan(probes).any(axis=0).all()
    around = {float(np.nextafter(np.float32(v), np.float32(to))) for v in (at, 0) for to in (-np.inf, v, np.inf)}
    asked = probes[:, fields["nodes_featureids"][0]]
    assert {*asked[~np.isnan(asked)].tolist()} == around | {-np.inf, np.inf}


@pytest.mark.parametrize(
    "model", [HistGradientBoostingClassifier(max_iter=20), GradientBoostingClassifier(n_estimators=20)]
)
def test_boosted_trees_as_scikit_learn_exports_them_are_read(model: Any) -> None:
    onnx_bytes = _fitted(model)
    read = _read(onnx_bytes)
    rows: Matrix = np.random.default_rng(4).random((3000, WIDTH), dtype=np.float32)
    assert read.score(rows).tobytes() == _by_onnxruntime(onnx_bytes, rows).tobytes()


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(_fitted(LogisticRegression()), id="no trees"),
        pytest.param(_fitted(RandomForestClassifier(20, max_leaf_nodes=8)), id="not logistic"),
        pytest.param(_ensemble(1, 3, LEAVES + 1), id="33 leaves"),
        pytest.param(_ensemble(1, 3, 4, classlabels_int64s=[0, 1, 2]), id="three classes"),
        pytest.param(_ensemble(1, 1, 2, nodes_modes=["BRANCH_LT", "LEAF", "LEAF"]), id="less than"),
        pytest.param(_below_its_root(true=1, false=3), id="a circle by true"),
        pytest.param(_below_its_root(true=2, false=1), id="a circle by false"),
        pytest.param(_ensemble(1, 1, 2, nodes_truenodeids=[9, 0, 0]), id="a child that is not there"),
        pytest.param(_ensemble(1, 1, 2, nodes_featureids=[WIDTH, 0, 0]), id="a feature that is not there"),
        pytest.param(_ensemble(1, 1, 2, nodes_featureids=[-1, 0, 0]), id="a feature before the first"),
        pytest.param(_ensemble(1, 1, 2, class_nodeids=[1, 1]), id="a leaf of two weights"),
        pytest.param(_ensemble(1, 1, 2, base_values=[0.1, 0.2]), id="two base values"),
        pytest.param(_ensemble(1, 1, 2, base_values=0.1), id="a base value that is no list"),
        pytest.param(_ensemble(1, 1, 2, nodes_treeids=["a", "b", "c"]), id="trees that have no number"),
    ],
)
def test_whatever_else_is_left_to_onnxruntime(model: bytes) -> None:
    assert Trees.read(model, "probabilities", WIDTH) is None


def test_a_model_too_large_to_look_into_is_left_to_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _ensemble(1, 3, 4)
    monkeypatch.setattr("headrace.models.score.trees.LARGEST", len(model) - 1)
    assert Trees.read(model, "probabilities", WIDTH) is None


def _loaded(*, reference: bool) -> ScoringModel:
    manifest = model_package(toy("trees"), 0).manifest
    manifest = manifest.model_copy(update={"sort_by": manifest.features[-1]})
    onnx_bytes = _fitted(HistGradientBoostingClassifier(max_iter=20, random_state=1), width=2)
    return ScoringModel(Package(manifest, onnx_bytes), reference=reference)


@pytest.mark.parametrize("rows", [1, BLOCK - 1, BLOCK, BLOCK + 1, 4000])
def test_a_loaded_model_scores_as_its_reference_does(rows: int) -> None:
    x: Matrix = np.random.default_rng(rows).random((rows, 2), dtype=np.float32)
    scores = _loaded(reference=False).score(x)
    assert scores.shape == (rows, 1)
    assert scores.tobytes() == _loaded(reference=True).score(x).tobytes()


def test_trees_whose_bits_differ_are_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    others = Trees(_only(_fitted(HistGradientBoostingClassifier(max_iter=21, random_state=1), width=2)), 2)
    monkeypatch.setattr(Trees, "read", lambda *_: others)
    x: Matrix = np.random.default_rng(1).random((500, 2), dtype=np.float32)
    model = _loaded(reference=False)
    assert [r.getMessage() for r in caplog.records] == [
        f"model {model.model_id[:12]}: its trees are scored by onnxruntime, whose bits differ here"
    ]
    assert model.score(x).tobytes() == _loaded(reference=True).score(x).tobytes() != others.score(x).tobytes()


def test_what_is_prepared_is_what_scores_any_rows() -> None:
    prepare()
    before = len(score_trees.signatures)  # type: ignore[attr-defined]
    read, rows = _read(_ensemble(1, 3, 4)), np.zeros((5, 2 * WIDTH), dtype=np.float32)
    read.score(rows[:, ::2])
    rows = np.ascontiguousarray(rows[:, :WIDTH])
    rows.flags.writeable = False
    read.score(rows)
    assert len(score_trees.signatures) == before == 1  # type: ignore[attr-defined]


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="rows of 2 features; these trees take 3"):
        _read(_ensemble(1, 3, 4)).score(np.zeros((1, 2), dtype=np.float32))
