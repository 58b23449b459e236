"""Small ONNX graphs, written as lists of nodes, as packages with the toy's manifest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from headrace.jobs.train.export import INPUT, SCORES
from headrace.models.package.package import Package, digest
from headrace.models.package.signing import Trust
from headrace.testing.models import model_package
from headrace.testing.pipelines import toy

ANYONE = Trust(unsigned=True)
_toy = cache(lambda: model_package(toy("graphs"), 0))


def node(operator: str, given: str, made: str, **attributes: Any) -> onnx.NodeProto:
    """One node: its operator with its domain ("ai.onnx.ml:Scaler"), names of inputs and outputs, parted by spaces; a
    dot stands for an input that is left out."""
    domain, _, name = operator.rpartition(":")
    inputs = ["" if g == "." else g for g in given.split()]
    return helper.make_node(name, inputs, made.split(), name=made.split()[0], domain=domain, **attributes)


def graph(
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[str] = (SCORES,),
    opset: int = 18,
    dtype: int = TensorProto.FLOAT,
    width: int = 2,
    **constants: Any,
) -> onnx.ModelProto:
    """A model of ``features`` float32 (n, width); constants that are lists of integers become int64, others float32."""
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    arrays = {name: a.astype(np.float32) if a.dtype == np.float64 else a for name, a in arrays.items()}
    made = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info(name, dtype if name == SCORES else 0, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    for output in made.output[1:]:
        output.ClearField("type")
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


def packed_as_toy(onnx_bytes: bytes, **stated: Any) -> Package:
    """The toy's manifest over other bytes, with what else is stated."""
    update = {"model_id": digest(onnx_bytes), "size": len(onnx_bytes), **stated}
    return Package(_toy().manifest.model_copy(update=update), onnx_bytes)
