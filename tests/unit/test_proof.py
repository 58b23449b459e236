"""What replay promises is asked of every model before it scores: who breaks it is refused with the reason."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest

from bench.models import KINDS, package
from headrace.config import load_settings
from headrace.errors import ConfigError, ModelRejected
from headrace.jobs.train.algorithms import ALGORITHMS
from headrace.jobs.train.dataset import Part
from headrace.jobs.train.export import INPUT, SCORES, to_onnx_bytes
from headrace.kafka.memory import MemoryLog
from headrace.models.library import ModelLibrary
from headrace.models.package.signing import Trust
from headrace.models.package.trial import try_out
from headrace.schema.records import FeatureBaseline, Tensor
from headrace.testing.memory import in_memory
from headrace.testing.models import packed
from headrace.testing.pipelines import toy, wide
from tests.graphs import ANYONE, graph, node, packed_as_toy
from tests.mixing_models import MIXING

pytestmark = pytest.mark.slow


def refusal(onnx_bytes: bytes, trust: Trust = ANYONE, **stated: Any) -> str:
    """What a trial says of a model, after its id."""
    with pytest.raises(ModelRejected) as refused:
        try_out(packed_as_toy(onnx_bytes, **stated), trust)
    return str(refused.value).partition(": ")[2]


@pytest.mark.parametrize("name", MIXING)
def test_a_model_that_breaks_what_replay_promises_is_refused_with_the_reason(name: str) -> None:
    said = refusal(MIXING[name].build().SerializeToString())
    assert MIXING[name].reason in said


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_what_the_platform_trains_is_accepted(algorithm: str) -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=(400, 2)).astype(np.float32)
    model = ALGORITHMS[algorithm](toy("proof"), Part(x, (x[:, 0] > 0).astype(float))).model
    try_out(packed(toy("proof"), algorithm, to_onnx_bytes(model, 2), 3), ANYONE)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_what_the_platform_published_before_is_still_accepted(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had the exporter's label as an output that its manifest did not declare."""
    monkeypatch.setattr("headrace.jobs.train.export._leave", lambda graph, output: None)
    random = np.random.default_rng(3)
    x = random.normal(size=(400, 2)).astype(np.float32)
    model = ALGORITHMS[algorithm](toy("proof"), Part(x, (x[:, 0] > 0).astype(float))).model
    exported = to_onnx_bytes(model, 2)
    assert [o.name for o in onnx.load_from_string(exported).graph.output] == ["label", SCORES]
    try_out(packed(toy("proof"), algorithm, exported, 3), ANYONE)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_the_bench_scores_is_accepted(kind: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        try_out(package(wide(5), kind), ANYONE)


def test_an_operator_that_settings_allow_is_proven_like_the_others() -> None:
    nodes = [node("Tanh", INPUT, "small"), node("CumSum", "small axis", SCORES)]
    along = {axis: graph(nodes, axis=np.int64(axis)) for axis in (0, 1)}
    allowing = Trust(unsigned=True, operators=("CumSum",))
    try_out(packed_as_toy(along[1].SerializeToString()), allowing)
    assert "its scores have other bits in another batch or at another time (" in refusal(
        along[0].SerializeToString(), allowing
    )
    assert 'models_allow = ["CumSum"]' in refusal(along[1].SerializeToString())


def test_an_operator_of_another_domain_is_used_where_settings_allow_it() -> None:
    model = graph([node("com.microsoft:QuickGelu", INPUT, SCORES, alpha=1.0)])
    model.opset_import.add(domain="com.microsoft", version=1)
    onnx_bytes = model.SerializeToString()
    assert refusal(onnx_bytes).startswith("it needs operators of com.microsoft, which are not ONNX's own: export it")
    try_out(packed_as_toy(onnx_bytes), Trust(unsigned=True, operators=("com.microsoft:QuickGelu",)))


@pytest.mark.parametrize("operator", ["RandomNormalLike", "Bernoulli"])
def test_chance_that_settings_allow_is_found_by_scoring_again(operator: str) -> None:
    model = graph([node("Sigmoid", INPUT, "p"), node(operator, "p", SCORES)])
    said = refusal(model.SerializeToString(), Trust(unsigned=True, operators=(operator,)))
    assert "its scores have other bits in another batch or at another time (" in said


def test_a_missing_output_is_refused() -> None:
    declared = [Tensor(name=name, dtype="tensor(float)", shape=[-1, 2]) for name in (SCORES, "gone")]
    model = graph([node("Abs", INPUT, SCORES)])
    assert (
        refusal(model.SerializeToString(), outputs=declared) == "it lacks outputs ['gone'], which its manifest declares"
    )


def test_a_second_output_that_is_declared_is_accepted() -> None:
    declared = [
        Tensor(name=SCORES, dtype="tensor(float)", shape=[-1, 2]),
        Tensor(name="label", dtype="tensor(int64)", shape=[-1]),
    ]
    nodes = [node("Sigmoid", INPUT, SCORES), node("ArgMax", INPUT, "label", axis=1, keepdims=0)]
    try_out(packed_as_toy(graph(nodes, [SCORES, "label"]).SerializeToString(), outputs=declared), ANYONE)


def test_infinity_is_refused_where_the_features_lie_and_let_be_where_they_do_not() -> None:
    """exp(x) of a feature that was at most 5 in training is finite there, and infinite at the largest float."""
    model = graph([node("Exp", INPUT, SCORES)]).SerializeToString()
    low, high = (
        [FeatureBaseline(feature=f, edges=edges, shares=[0.3, 0.3, 0.4]) for f in ("price", "seen_10m")]
        for edges in ([1.0, 5.0], [50.0, 500.0])
    )
    try_out(packed_as_toy(model, baseline=low), ANYONE)
    assert "ordinary rows with NaN or infinity, as [inf] for" in refusal(model, baseline=high)


def test_memory_is_asked_about_at_the_full_batch() -> None:
    """A small file whose answer takes 8000 x 40000 floats on its way, 1.3 GB."""
    wide_weights = np.full((2, 40_000), 1e-3, dtype=np.float32)
    nodes = [
        node("MatMul", f"{INPUT} w", "broad"),
        node("ReduceMean", "broad axes", "mean", keepdims=1),
        node("Concat", "mean mean", SCORES, axis=1),
    ]
    model = graph(nodes, w=wide_weights, axes=[1])
    assert "scoring 8000 rows takes more" in refusal(model.SerializeToString())


def test_a_model_that_fixes_the_batch_is_refused() -> None:
    model = graph([node("Abs", INPUT, SCORES)])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 16
    assert "it cannot score a row of zeros" in refusal(model.SerializeToString())
    assert "it cannot score batches of (13, 17, 1) rows" in refusal(model.SerializeToString(), batching="fixed(16)")


def test_a_table_lookup_by_what_the_row_holds_is_accepted() -> None:
    nodes = [
        node("ArgMax", INPUT, "column", axis=1, keepdims=0),
        node("Gather", "table column", SCORES, axis=0),
    ]
    try_out(packed_as_toy(graph(nodes, table=np.eye(2, dtype=np.float32)).SerializeToString()), ANYONE)


def test_settings_name_the_operators_that_are_allowed_beside_the_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_MODELS_ALLOW", '["CumSum", "com.microsoft:Gelu"]')
    assert Trust.of(load_settings()).operators == ("CumSum", "com.microsoft:Gelu")
    for wrong in ('["Cum Sum"]', '[":Foo"]', '["a:b:C"]'):
        monkeypatch.setenv("HEADRACE_MODELS_ALLOW", wrong)
        with pytest.raises(ConfigError, match=r"setting 'models_allow\.0'"):
            load_settings()


def test_each_operator_that_settings_allow_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    topics = in_memory(toy("aloud", partitions=1), MemoryLog())
    ModelLibrary(topics, topics.log, Trust(operators=("CumSum", "com.example:Foo"))).close()
    assert [r.getMessage() for r in caplog.records] == [
        f"models may use the operator {name} here, which is not known to take each row by itself (models_allow)"
        for name in ("CumSum", "com.example:Foo")
    ]
