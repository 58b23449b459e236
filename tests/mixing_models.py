"""Models that would break what replay promises, each with what must be said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper

from headrace.jobs.train.export import INPUT, SCORES
from tests.graphs import graph, node


class Mixing(NamedTuple):
    """How a model is built, and the reason that must be given (after the model's id)."""

    build: Callable[[], onnx.ModelProto]
    reason: str


def _on_branch() -> onnx.ModelProto:
    """Another answer where the sum of the batch is positive."""

    def branch(name: str, operator: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([node(operator, INPUT, name)], name, [], [out])

    return graph(
        [
            node("ReduceSum", INPUT, "sum", keepdims=0),
            node("Greater", "sum zero", "positive"),
            node("If", "positive", SCORES, then_branch=branch("a", "Abs"), else_branch=branch("b", "Neg")),
        ],
        zero=np.float32(0),
    )


def _in_function() -> onnx.ModelProto:
    model = graph([node("own:hidden", INPUT, SCORES)])
    inside = [node("ReduceMean", "x", "m", keepdims=1), node("Sub", "x m", "y")]
    model.functions.append(helper.make_function("own", "hidden", ["x"], ["y"], inside, [helper.make_opsetid("", 17)]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def _over_rows(operator: str, **constants: object) -> onnx.ModelProto:
    """The reduction over axis 0, taken from every row."""
    nodes = [node(operator, f"{INPUT} axes", "all", keepdims=1), node("Sub", f"{INPUT} all", SCORES)]
    return graph(nodes, axes=[0], **constants)  # type: ignore[arg-type]


def _sequence() -> onnx.ModelProto:
    """An LSTM that takes the batch for a sequence."""
    ones: dict[str, Any] = {name: np.ones((1, 8, 2), dtype=np.float32) for name in ("w", "r")}
    nodes = [
        node("Unsqueeze", f"{INPUT} one", "rows"),
        node("LSTM", "rows w r", "steps", hidden_size=2),
        node("Reshape", "steps shape", SCORES),
    ]
    return graph(nodes, one=[1], shape=[-1, 2], **ones)


def _trained() -> onnx.ModelProto:
    four: dict[str, Any] = {name: np.ones(2, dtype=np.float32) for name in ("scale", "b", "mean", "var")}
    made = node("BatchNormalization", f"{INPUT} scale b mean var", f"{SCORES} m v", training_mode=1)
    return graph([made], **four)


def _training_info() -> onnx.ModelProto:
    model = graph([node("Abs", INPUT, SCORES)])
    model.training_info.add().algorithm.name = "sgd"
    return model


def _sparse() -> onnx.ModelProto:
    model = graph([node("Add", f"{INPUT} s", SCORES)])
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    places = helper.make_tensor("at", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [1 << 40]))
    return model


def _out_of_order() -> onnx.ModelProto:
    """A mean over the batch of a tensor that is made later in the file."""
    nodes = [
        node("ReduceMean", "later axes", "all", keepdims=1),
        node("Abs", INPUT, "later"),
        node("Sub", "later all", SCORES),
    ]
    return graph(nodes, axes=[0])


def _two_axes() -> onnx.ModelProto:
    """A softmax that says two axes."""
    model = graph([node("Softmax", INPUT, SCORES, axis=0)])
    model.graph.node[0].attribute.append(helper.make_attribute("axis", 1))
    return model


def _two_tensors() -> onnx.ModelProto:
    """A reduction along one of two axes of one name."""
    model = _over_rows("ReduceMean")
    model.graph.initializer.append(helper.make_tensor("axes", TensorProto.INT64, [1], [1]))
    return model


def _counted() -> onnx.ModelProto:
    """Scores divided by the number of rows in the batch."""
    nodes = [
        node("Shape", INPUT, "shape", end=1),
        node("Cast", "shape", "count", to=TensorProto.FLOAT),
        node("Div", f"{INPUT} count", SCORES),
    ]
    return graph(nodes)


def _numbered() -> onnx.ModelProto:
    """Other scores for the first row, found by counting rows."""
    nodes = [
        node("CumSum", "ones_ zero", "number"),
        node("Equal", "number one", "first"),
        node("Where", f"first zeros {INPUT}", SCORES),
    ]
    ones = [node("Equal", f"{INPUT} {INPUT}", "same"), node("Cast", "same", "ones_", to=TensorProto.FLOAT)]
    return graph([*ones, *nodes], zero=np.int64(0), one=np.float32(1), zeros=np.float32(0))


def _one(operator: str, more: str = "", made: str = SCORES, **rest: object) -> Callable[[], onnx.ModelProto]:
    """A model of one node, after its input those in ``more``; constants are arrays, attributes the rest."""
    constants = {k: v for k, v in rest.items() if isinstance(v, np.ndarray | list) and k in more.split()}
    attributes = {k: v for k, v in rest.items() if k not in constants}
    return lambda: graph([node(operator, f"{INPUT} {more}", made, **attributes)], **constants)  # type: ignore[arg-type]


def _chance(operator: str) -> str:
    return (
        f"it uses {operator} (node 'probabilities'): it draws random numbers, and would not give the same scores again"
    )


_ROWS = "works along axis 0, which is that of the rows: a row's score would depend on its batch"
_BESIDE = "what it gives for a row depends on the rows beside it"

MIXING: dict[str, Mixing] = {
    "mean over the batch": Mixing(lambda: _over_rows("ReduceMean"), f"its node 'all' (ReduceMean) {_ROWS}"),
    "largest of the batch": Mixing(lambda: _over_rows("ReduceMax"), f"its node 'all' (ReduceMax) {_ROWS}"),
    "a reduction without axes": Mixing(
        _one("ReduceSum", keepdims=1), "its node 'probabilities' (ReduceSum) does not say its axes, and so works on"
    ),
    "the batch's axis from the end": Mixing(
        lambda: graph([node("ReduceMax", f"{INPUT} a", "m", keepdims=1), node("Add", f"{INPUT} m", SCORES)], a=[-2]),
        "its node 'm' (ReduceMax) does not give one result for each row (shapes (1, 2) of 13 and (1, 2) of 17 and",
    ),
    "softmax over the batch": Mixing(_one("Softmax", axis=0), f"its node 'probabilities' (Softmax) {_ROWS}"),
    "softmax over the batch, from the end": Mixing(
        _one("Softmax", axis=-2), "its node 'probabilities' (Softmax) works along axis 0, which is that of the rows"
    ),
    "softmax over rows that were laid flat": Mixing(
        lambda: graph(
            [
                node("ReduceSum", f"{INPUT} one", "flat", keepdims=0),
                node("Softmax", "flat", "soft", axis=-1),
                node("Unsqueeze", "soft one", "column"),
                node("Mul", f"{INPUT} column", SCORES),
            ],
            one=[1],
        ),
        "its node 'soft' (Softmax) works along axis 0, which is that of the rows",
    ),
    "normalised as one row": Mixing(
        lambda: graph(
            [
                node("ReduceSum", f"{INPUT} one", "flat", keepdims=0),
                node("ai.onnx.ml:Normalizer", "flat", "unit", norm="L2"),
                node("Reshape", "unit column", "tall"),
                node("Mul", f"{INPUT} tall", SCORES),
            ],
            one=[1],
            column=[-1, 1],
        ),
        "its node 'unit' (ai.onnx.ml:Normalizer) ",
    ),
    "rows times rows": Mixing(
        lambda: graph([node("Transpose", INPUT, "t", perm=[1, 0]), node("MatMul", "t features", SCORES)]),
        "its node 't' (Transpose) moves the rows to another axis",
    ),
    "Gemm of rows and rows": Mixing(
        lambda: graph([node("Gemm", f"{INPUT} {INPUT}", "g", transB=1), node("MatMul", f"g {INPUT}", SCORES)]),
        "its node 'g' (Gemm) computes input 1 ('features') from the rows: it must be a constant",
    ),
    "each row beside each": Mixing(
        lambda: graph(
            [
                node("ReduceSum", f"{INPUT} one", "flat", keepdims=0),
                node("Unsqueeze", "flat one", "column"),
                node("Add", "flat column", "square"),
                node("ReduceMax", "square one", "far", keepdims=1),
                node("Mul", f"{INPUT} far", SCORES),
            ],
            one=[1],
        ),
        "its node 'square' (Add) does not give one result for each row (shapes (13, 13) of 13 and (17, 17) of 17",
    ),
    "two rows laid together": Mixing(
        lambda: graph(
            [
                node("Reshape", f"{INPUT} flat", "line"),
                node("Softmax", "line", "soft", axis=-1),
                node("Reshape", "soft back", SCORES),
            ],
            flat=[1, -1],
            back=[-1, 2],
        ),
        "its node 'line' (Reshape) does not give one result for each row",
    ),
    "CumSum": Mixing(
        lambda: graph([node("CumSum", f"{INPUT} zero", SCORES)], zero=np.int64(0)),
        f"it uses CumSum (node 'probabilities'): {_BESIDE}",
    ),
    "TopK of the batch": Mixing(
        lambda: graph([node("TopK", f"{INPUT} k", f"{SCORES} i", axis=0)], k=[1]),
        f"its node 'probabilities' (TopK) {_ROWS}",
    ),
    "the first row": Mixing(
        lambda: graph([node("Gather", f"{INPUT} i", "f", axis=0), node("Add", f"f {INPUT}", SCORES)], i=[0]),
        f"its node 'f' (Gather) {_ROWS}",
    ),
    "rows shuffled": Mixing(
        lambda: graph(
            [
                node("ArgMax", INPUT, "column", axis=1, keepdims=0),
                node("Gather", f"{INPUT} column", SCORES, axis=0),
            ]
        ),
        f"its node 'probabilities' (Gather) {_ROWS}",
    ),
    "rows reversed": Mixing(
        _one("Slice", "s e a d", s=[-1], e=[-(1 << 40)], a=[0], d=[-1]), f"its node 'probabilities' (Slice) {_ROWS}"
    ),
    "rows reversed, from the end": Mixing(
        _one("Slice", "s e a d", s=[-1], e=[-(1 << 40)], a=[-2], d=[-1]),
        "its node 'probabilities' (Slice) works along axis 0, which is that of the rows",
    ),
    "cut without axes": Mixing(
        _one("Slice", "s e", s=[0], e=[1 << 40]), "its node 'probabilities' (Slice) does not say its axes, and so cuts"
    ),
    "elements by the row's number": Mixing(
        lambda: graph(
            [
                node("ArgMax", INPUT, "column", axis=1, keepdims=1),
                node("GatherElements", "table column", "by", axis=1),
                node("Add", f"{INPUT} by", SCORES),
            ],
            table=np.arange(40_000, dtype=np.float32).reshape(20_000, 2),
        ),
        "its node 'by' (GatherElements) takes from a constant by the number of the row",
    ),
    "NonZero": Mixing(
        lambda: graph([node("NonZero", INPUT, "n"), node("Cast", "n", SCORES, to=1)]),
        f"it uses NonZero (node 'n'): {_BESIDE}",
    ),
    "Unique": Mixing(_one("Unique", axis=0), f"it uses Unique (node 'probabilities'): {_BESIDE}"),
    "LSTM over the batch": Mixing(_sequence, f"it uses LSTM (node 'steps'): {_BESIDE}"),
    "BatchNormalization in training": Mixing(
        _trained, "its node 'probabilities' (BatchNormalization) has 3 outputs, as in training: export the model for"
    ),
    "Dropout in training": Mixing(
        lambda: graph([node("Dropout", f"{INPUT} r t", SCORES)], r=np.float32(0.5), t=np.bool_(True)),
        "its node 'probabilities' (Dropout) is in training mode: export the model for inference",
    ),
    "Dropout told by the row": Mixing(
        lambda: graph(
            [
                node("ReduceMax", f"{INPUT} axes", "m", keepdims=0),
                node("Cast", "m", "t", to=TensorProto.BOOL),
                node("Dropout", f"{INPUT} . t", SCORES),
            ],
            axes=[1],
        ),
        "its node 'probabilities' (Dropout) computes input 2 ('t') from the rows: it must be a constant",
    ),
    "RandomNormalLike": Mixing(_one("RandomNormalLike"), _chance("RandomNormalLike")),
    "RandomUniformLike of a seed": Mixing(_one("RandomUniformLike", seed=7.0), _chance("RandomUniformLike")),
    "Bernoulli": Mixing(
        lambda: graph([node("Sigmoid", INPUT, "p"), node("Bernoulli", "p", SCORES)]), _chance("Bernoulli")
    ),
    "scores by the size of the batch": Mixing(_counted, f"it uses Shape (node 'shape'): {_BESIDE}"),
    "the first row told apart": Mixing(_numbered, f"it uses CumSum (node 'number'): {_BESIDE}"),
    "a branch on the batch": Mixing(_on_branch, "its node 'sum' (ReduceSum) does not say its axes, and so works on"),
    "a mean in a local function": Mixing(_in_function, "it defines functions of its own (hidden)"),
    "a mean of what is made later": Mixing(
        _out_of_order, "its node 'all' (ReduceMean) takes 'later', which nothing before it makes"
    ),
    "two axes": Mixing(_two_axes, "its node 'probabilities' (Softmax) has two attributes of one name"),
    "two tensors of one name": Mixing(_two_tensors, "it holds two tensors of one name"),
    "training_info": Mixing(_training_info, "it holds how it is trained (training_info): export it for inference"),
    "a sparse tensor of 2^40": Mixing(_sparse, "its tensor 's' is sparse, and may be of any size"),
    "0/0": Mixing(
        lambda: graph([node("Div", f"{INPUT} {INPUT}", SCORES)]),
        "ordinary rows with NaN or infinity, as [nan] for price = 0, seen_10m = 0: keep its inputs",
    ),
    "the logarithm of a negative": Mixing(
        lambda: graph([node("Sub", f"{INPUT} one", "x"), node("Log", "x", SCORES)], one=np.float32(1)),
        "ordinary rows with NaN or infinity, as [nan] for",
    ),
    "one over the row": Mixing(_one("Reciprocal"), "ordinary rows with NaN or infinity, as [inf] for"),
    "another output": Mixing(
        lambda: graph([node("Abs", INPUT, SCORES), node("Neg", INPUT, "other")], [SCORES, "other"]),
        "it has outputs ['other'], which its manifest does not declare: export it without them",
    ),
    "an output that is the input": Mixing(
        lambda: graph([node("Abs", INPUT, SCORES)], [SCORES, INPUT]),
        "it has outputs ['features'], which its manifest does not declare: export it without them",
    ),
    "three scores for two": Mixing(
        lambda: graph([node("Concat", f"{INPUT} {INPUT}", SCORES, axis=1)]),
        "of 17 rows its output 'probabilities' is a tensor(float) of shape [17, 4]; its manifest declares",
    ),
    "scores of another type": Mixing(
        lambda: graph([node("Cast", INPUT, SCORES, to=TensorProto.DOUBLE)], dtype=TensorProto.DOUBLE),
        "of 17 rows its output 'probabilities' is a tensor(double) of shape [17, 2]; its manifest declares",
    ),
    "an output of another length": Mixing(
        lambda: graph([node("Identity", "table", SCORES)], table=np.ones((5, 2), dtype=np.float32)),
        "its output 'probabilities' does not depend on its input",
    ),
    "a shape of fixed length": Mixing(
        _one("Reshape", "to", to=[8, 4]), "its node 'probabilities' (Reshape) makes a tensor of a fixed number of rows"
    ),
    "ZipMap": Mixing(
        _one("ai.onnx.ml:ZipMap", classlabels_int64s=[0, 1]),
        "it uses ai.onnx.ml:ZipMap (node 'probabilities'): it gives dictionaries, which are no scores: export",
    ),
}
