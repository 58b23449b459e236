"""From a fitted model to ONNX, and what is shown of it before it is published."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import GraphProto, TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

from headrace.errors import TrainingRefused
from headrace.models.psi import baseline_of
from headrace.models.score.feeding import Matrix
from headrace.models.score.session import open_session
from headrace.schema.records import Certificate, FeatureBaseline

INPUT, SCORES = "features", "probabilities"
PARITY_TOLERANCE = 1e-5


def to_onnx_bytes(model: Any, features: int) -> bytes:
    """The model as ONNX: input ``features`` float32 (n, features), output ``probabilities`` float32 (n, 2).

    The same model gives the same bytes. The label that the exporter adds is left out: nothing reads it. A number is a
    category where it equals its code, as in scikit-learn, and none otherwise.
    """
    onnx = to_onnx(
        model, initial_types=[(INPUT, FloatTensorType([None, features]))], options={"zipmap": False}, target_opset=18
    )
    _categories_by_value(onnx.graph)
    _leave(onnx.graph, SCORES)
    # The exporter lists them in the order of a set, which is another in each process.
    opsets = sorted(onnx.opset_import, key=lambda opset: opset.domain)
    del onnx.opset_import[:]
    onnx.opset_import.extend(opsets)
    return bytes(onnx.SerializeToString(deterministic=True))


def _categories_by_value(graph: GraphProto) -> None:
    """Have each one-hot encoding compare numbers.

    The exporter casts them to integers first, and so makes 1.7 the category 1, where scikit-learn knows no such one.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    nodes = []
    for node in graph.node:
        if node.op_type != "OneHotEncoder":
            nodes.append(node)
            continue
        cast, given = made_by[node.input[0]], helper.get_node_attr_value(node, "cats_int64s")
        if cast.op_type != "Cast":
            raise TrainingRefused(f"the exporter feeds the one-hot encoding {node.name} with {cast.op_type}, not Cast")
        (out,) = node.output
        codes, equal = f"{out}_codes", f"{out}_equal"
        graph.initializer.append(numpy_helper.from_array(np.array([given], dtype=np.float32), codes))
        nodes.append(helper.make_node("Equal", [cast.input[0], codes], [equal], name=f"{node.name}_equal"))
        nodes.append(helper.make_node("Cast", [equal], [out], name=f"{node.name}_cast", to=TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)


def _leave(graph: GraphProto, output: str) -> None:
    """Take from a graph every other output, and what only those need."""
    kept = [o for o in graph.output if o.name == output]
    needed, nodes = {output}, []
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            nodes.append(node)
            needed.update(node.input)
    tensors = [t for t in graph.initializer if t.name in needed]
    for old, new in ((graph.output, kept), (graph.node, nodes[::-1]), (graph.initializer, tensors)):
        del old[:]
        old.extend(new)


class Exported:
    """An ONNX model under test."""

    def __init__(self, onnx: bytes) -> None:
        self._session = open_session(onnx)

    def run(self, x: Matrix) -> Matrix:
        """Probability of 1, float32 (n, 1)."""
        return np.asarray(self._session.run([SCORES], {INPUT: x})[0][:, 1:], dtype=np.float32)

    def scores(self, x: Matrix) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """Probability of 1, float32 (n,)."""
        return self.run(x)[:, 0]


def parity(exported: Exported, model: Any, x: Matrix) -> Certificate:
    """Compare the ONNX model with the original on every row of ``x``.

    Raises:
        TrainingRefused: they differ by more than 1e-5 anywhere.
    """
    difference = np.abs(exported.scores(x).astype(np.float64) - model.predict_proba(x)[:, 1])
    worst, over = float(difference.max()), int((difference > PARITY_TOLERANCE).sum())
    detail = f"largest difference {worst:.2e} on {len(x)} rows; {over} over {PARITY_TOLERANCE:g}"
    if over:
        raise TrainingRefused(f"the ONNX model does not score as the original does: {detail}")
    return Certificate(name="parity", passed=True, detail=detail)


def baseline(x: Matrix, features: tuple[str, ...]) -> list[FeatureBaseline]:
    """Distribution of each feature in the training set, float32 (n, features)."""
    return [baseline_of(name, x[:, i]) for i, name in enumerate(features)]
