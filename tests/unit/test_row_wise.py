"""Whatever graph is accepted gives a row the same bits in any batch, in any order, alone: asked of drawn graphs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import ModelRejected
from headrace.jobs.train.export import INPUT, SCORES
from headrace.models.package.axes import follow
from headrace.models.package.probes import probes
from headrace.models.package.proof import prove
from headrace.models.package.scan import scan
from headrace.models.score.session import ScoringModel
from headrace.schema.records import Tensor
from tests.graphs import graph, node, packed_as_toy

pytestmark = pytest.mark.slow
ROWS = 300
CONSTANTS: dict[str, Any] = {
    "matrix": np.array([[0.5, -1.5], [2.0, 0.25]], dtype=np.float32),
    "row": np.array([0.5, -2.0], dtype=np.float32),
    "table": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=np.float32),
    **{f"axis{axis}": [axis] for axis in (-3, -2, -1, 0, 1, 2)},
    "far": [1 << 40],
    "pairs": [-1, 2],
    "flat": [-1],
    "line": [1, -1],
    "kept": [0, -1],
    "column": [-1, 1],
    "deep": [0, 1, -1],
    "split": [-1, 1, 2],
    "half": [-1, 4],
}
AXES = [-3, -2, -1, 0, 1, 2]


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    """Up to five nodes, each of any earlier tensors, along any axis, to any shape; the last through a Sigmoid."""
    tensors, nodes = [INPUT], list[onnx.NodeProto]()
    for number in range(draw(st.integers(1, 5))):
        axis = draw(st.sampled_from(AXES))
        one, other = draw(st.sampled_from(tensors[-2:])), draw(st.sampled_from([*tensors, "row", "matrix", "table"]))
        kept, made = draw(st.integers(0, 1)), f"t{number}"
        shape = draw(st.sampled_from(["pairs", "flat", "line", "kept", "column", "deep", "split", "half"]))
        pair = draw(st.permutations([one, other]))
        kinds = {
            "each": [node(draw(st.sampled_from(["Tanh", "Abs", "Softplus", "Neg"])), one, made)],
            "two": [node(draw(st.sampled_from(["Add", "Mul", "Max", "Sub"])), " ".join(pair), made)],
            "product": [node(draw(st.sampled_from(["MatMul", "Gemm"])), " ".join(pair), made)],
            "reduction": [
                node(
                    draw(st.sampled_from(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2"])),
                    f"{one} axis{axis}",
                    made,
                    keepdims=kept,
                )
            ],
            "softmax": [node(draw(st.sampled_from(["Softmax", "LogSoftmax"])), one, made, axis=axis)],
            "concat": [node("Concat", " ".join(pair), made, axis=axis)],
            "reshape": [node("Reshape", f"{one} {shape}", made)],
            "transpose": [node("Transpose", one, made, perm=draw(st.permutations(range(draw(st.integers(1, 3))))))],
            "squeeze": [node(draw(st.sampled_from(["Squeeze", "Unsqueeze"])), f"{one} axis{axis}", made)],
            "flatten": [node("Flatten", one, made, axis=axis)],
            "slice": [node("Slice", f"{one} axis0 far axis{axis}", made)],
            "largest": [node("TopK", f"{one} axis1", f"{made} i{number}", axis=axis)],
            "unit": [node("ai.onnx.ml:Normalizer", one, made, norm="L2")],
            "picked": [node("ai.onnx.ml:ArrayFeatureExtractor", f"{one} axis0", made)],
            "looked up": [
                node("ArgMax", one, f"i{number}", axis=axis, keepdims=kept),
                node(
                    "Gather", f"{draw(st.sampled_from([one, 'table']))} i{number}", made, axis=draw(st.integers(0, 1))
                ),
            ],
            "elements": [
                node("ArgMin", one, f"i{number}", axis=axis, keepdims=1),
                node("GatherElements", f"{other} i{number}", made, axis=axis),
            ],
        }
        nodes += kinds[draw(st.sampled_from(sorted(kinds)))]
        tensors.append(made)
    return graph([*nodes, node("Sigmoid", tensors[-1], SCORES)], opset=draw(st.sampled_from([13, 18])), **CONSTANTS)


def accepted(model: onnx.ModelProto) -> ScoringModel:
    """The model, as a worker would have it after a trial on fewer rows, declared as it is."""
    package = packed_as_toy(model.SerializeToString())
    steps = scan(package.manifest.model_id, package.onnx)
    found = ScoringModel(package, reference=True)
    tried = probes(package.manifest, ROWS)
    follow(package.manifest.model_id, package.onnx, steps, tried.rows)
    outputs = [Tensor(name=n, dtype=t, shape=[-1, *v.shape[1:]]) for n, t, v in found.outputs(tried.rows)]
    found.manifest = found.manifest.model_copy(update={"outputs": outputs})
    prove(found, tried)
    return found


def test_whatever_graph_is_accepted_gives_the_same_bits_in_any_batch_permuted_and_alone() -> None:
    became = Counter[str]()

    @settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
    @given(graphs(), st.integers(0, 2**32 - 1))
    def judge(model: onnx.ModelProto, seed: int) -> None:
        try:
            scorer = accepted(model)
        except ModelRejected:
            became["refused"] += 1
            return
        became["accepted"] += 1
        random = np.random.default_rng(seed)
        rows = (random.normal(size=(97, 2)) * 10.0 ** random.integers(-3, 4, (97, 2))).astype(np.float32)
        whole, order = scorer.score(rows).view(np.uint32), random.permutation(97)
        cuts = np.sort(random.integers(1, 97, 5))
        assert np.array_equal(scorer.score(rows[order]).view(np.uint32), whole[order])
        parts = [scorer.score(part) for part in np.split(rows, cuts) if len(part)]
        assert np.array_equal(np.concatenate(parts).view(np.uint32), whole)
        alone = [scorer.score(rows[i : i + 1]) for i in range(97)]
        assert np.array_equal(np.concatenate(alone).view(np.uint32), whole)

    judge()
    assert became["accepted"] >= 20, became
    assert became["refused"] >= 20, became


def test_a_node_that_mixes_rows_is_found_where_no_score_shows_it() -> None:
    """A comparison over the batch that never comes true on the rows tried: only the axis shows it."""
    nodes = [
        node("ReduceSum", f"{INPUT} axis1", "sum", keepdims=0),
        node("Unsqueeze", "sum axis0", "laid"),
        node("Softmax", "laid", "share", axis=-1),
        node("Reshape", "share column", "shares"),
        node("Greater", "shares two", "never"),
        node("Where", f"never shares {INPUT}", SCORES),
    ]
    model = graph(nodes, two=np.float32(2), **CONSTANTS)
    with pytest.raises(
        ModelRejected, match=r"its node 'share' \(Softmax\) works along axis 1, which is that of the rows"
    ):
        accepted(model)
