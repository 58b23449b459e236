"""A model's first load: what it may hold, and what becomes of one that cannot be loaded."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.errors import ModelRejected
from headrace.jobs.train.export import INPUT, SCORES
from headrace.models.package.package import Package, digest
from headrace.models.package.signing import Trust
from headrace.models.package.trial import MB, try_out
from headrace.testing.models import model_package
from headrace.testing.pipelines import toy

ANYONE = Trust(unsigned=True)
OPSET = helper.make_opsetid("", 17)


def changed(onnx_bytes: bytes) -> Package:
    """The toy's manifest over other bytes."""
    manifest = model_package(toy("trial"), 0).manifest
    update = {"model_id": digest(onnx_bytes), "size": len(onnx_bytes)}
    return Package(manifest.model_copy(update=update), onnx_bytes)


def large(side: int) -> Package:
    """A model that multiplies by a matrix of ``side`` squared."""
    random = np.random.default_rng(1)
    widths = {"a": (2, side), "b": (side, side), "c": (side, 2)}
    tensors = [numpy_helper.from_array(random.random(w, dtype=np.float32), name) for name, w in widths.items()]
    nodes = [
        helper.make_node("MatMul", [INPUT, "a"], ["x"]),
        helper.make_node("MatMul", ["x", "b"], ["y"]),
        helper.make_node("MatMul", ["y", "c"], [SCORES]),
    ]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, [None, 2])],
        tensors,
    )
    return changed(helper.make_model(graph, opset_imports=[OPSET], ir_version=9).SerializeToString())


def test_a_small_model_holds_little() -> None:
    assert 0 <= try_out(model_package(toy("trial"), 0), ANYONE) < 100 * MB


@pytest.mark.slow
def test_a_model_over_the_memory_budget_is_refused_with_the_figure() -> None:
    package = large(4000)  # 64 MB of floats
    with pytest.raises(ModelRejected, match="loaded it holds more than the budget of 20 MB"):
        try_out(package, ANYONE, 20 * MB)
    assert try_out(package, ANYONE, 400 * MB) > 50 * MB


def test_bytes_that_are_no_model_are_refused_with_the_reason() -> None:
    with pytest.raises(ModelRejected, match="its bytes are no ONNX model"):
        try_out(changed(b"not onnx"), ANYONE)
