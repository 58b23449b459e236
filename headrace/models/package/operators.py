"""The operators a model may use, and how: each gives a row's result from that row alone, the same every time.

What each one does is written in the operator reference of ONNX. An axis is checked twice: here as far as the file says
it, and once the rank of its input is known (:mod:`headrace.models.package.axes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx

LARGEST_KNOWN = 1024
"""Elements of a constant that is looked into: axes, shapes and flags are small."""


class Given(NamedTuple):
    """What is known of one input: whether it depends on the rows, and its tensor where the model carries it."""

    rows: bool
    tensor: onnx.TensorProto | None = None

    def numbers(self) -> list[int] | None:
        """A constant's elements as integers; None where they are not known."""
        if self.rows or self.tensor is None or np.prod(self.tensor.dims, dtype=np.float64) > LARGEST_KNOWN:
            return None
        try:
            return [int(v) for v in onnx.numpy_helper.to_array(self.tensor).ravel().tolist()]
        except (ValueError, TypeError, OverflowError):
            return None


class Use(NamedTuple):
    """One node.

    Attributes:
        node: as the file holds it.
        inputs: None for one that is left out.
        attributes: those that are integers, or lists of them.
        opset: version of the operator set it is written for.
    """

    node: onnx.NodeProto
    inputs: list[Given | None]
    attributes: Mapping[str, int | list[int]]
    opset: int

    def given(self, index: int) -> Given | None:
        return self.inputs[index] if index < len(self.inputs) else None


class NotRowWise(Exception):
    """Why a node is refused, in words that follow its name."""


@dataclass(frozen=True)
class Axes:
    """Where a node says along which axes it works.

    Attributes:
        attribute: its name; empty: it is always ``default``.
        index: the input that says it in newer operator sets.
        default: where the node does not say; None: it has to.
    """

    attribute: str = ""
    index: int | None = None
    default: int | None = None

    def of(self, use: Use) -> tuple[int, ...]:
        """The axes.

        Raises:
            NotRowWise: the file does not say them, or one is the first, which is that of the rows.
        """
        said: int | list[int] | None = use.attributes.get(self.attribute)
        if said is None and self.index is not None and (given := use.given(self.index)) is not None:
            said = given.numbers()
            if said is None:
                raise NotRowWise(
                    f"takes its axes from a computed tensor: write them as a constant (input {self.index})"
                )
        if said is None or said == []:
            said = self.default
        if said is None:
            raise NotRowWise("does not say its axes, and so works on the rows too: name the axes of the features")
        axes = (said,) if isinstance(said, int) else tuple(said)
        if 0 in axes:
            raise NotRowWise("works along axis 0, which is that of the rows: a row's score would depend on its batch")
        return axes


@dataclass(frozen=True)
class Operator:
    """How one operator may be used.

    Attributes:
        constant: inputs that must not depend on the rows.
        axes: along which it works, where it works along any.
        outputs: outputs it may have at most.
        check: what else must be so; raises NotRowWise.
    """

    constant: tuple[int, ...] = ()
    axes: Axes | None = None
    outputs: int | None = None
    check: Callable[[Use], None] | None = None

    def axes_of(self, use: Use) -> tuple[int, ...]:
        """The axes of its first input along which a node works; none where it takes each element by itself, or where
        its first input is a constant.

        Raises:
            NotRowWise: it is used in a way that is not row by row.
        """
        for index in self.constant:
            if (given := use.given(index)) is not None and given.rows:
                raise NotRowWise(
                    f"computes input {index} ({use.node.input[index]!r}) from the rows: it must be a constant"
                )
        if self.outputs is not None and len(use.node.output) > self.outputs:
            raise NotRowWise(f"has {len(use.node.output)} outputs, as in training: export the model for inference")
        if self.check is not None:
            self.check(use)
        data = use.given(0)
        return self.axes.of(use) if self.axes is not None and data is not None and data.rows else ()


def _inference(use: Use) -> None:
    """Dropout and BatchNormalization: not in training mode."""
    given = use.given(2) if use.node.op_type == "Dropout" else None
    training = use.attributes.get("training_mode", 0) if given is None else given.numbers()
    if training not in (0, [0]):
        raise NotRowWise("is in training mode: export the model for inference (in PyTorch, after model.eval())")


def _reshape(use: Use) -> None:
    shape = use.attributes.get("shape") if use.opset < 5 else (given := use.given(1)) and given.numbers()
    if not isinstance(shape, list):
        raise NotRowWise("takes a computed shape: write it as a constant that begins with -1 or 0")
    if shape[:1] == [0] and use.attributes.get("allowzero"):
        raise NotRowWise("makes an empty tensor (allowzero)")
    if -1 not in shape and 0 not in shape:
        raise NotRowWise("makes a tensor of a fixed number of rows: let the shape begin with -1")


def _transpose(use: Use) -> None:
    perm = use.attributes.get("perm")
    if not isinstance(perm, list) or perm[:1] != [0]:
        raise NotRowWise("moves the rows to another axis: axis 0 must stay where it is (perm = [0, ...])")


def _squeeze(use: Use) -> None:
    given = use.given(1)
    if use.attributes.get("axes") is None and (given is None or given.numbers() is None):
        raise NotRowWise("does not say its axes, and takes that of the rows away where there is one row: name them")


def _gather(use: Use) -> None:
    data = use.given(0)
    if data is not None and not data.rows and use.attributes.get("axis", 0) != 0:
        raise NotRowWise("takes from a constant along another axis than 0")


def _elements(use: Use) -> None:
    data = use.given(0)
    if data is None or not data.rows:
        raise NotRowWise("takes from a constant by the number of the row")


def _gemm(use: Use) -> None:
    if use.attributes.get("transA"):
        raise NotRowWise("transposes the rows (transA)")


def _extractor(use: Use) -> None:
    if all(given is not None and given.rows for given in use.inputs):
        raise NotRowWise("picks the columns of all rows by what the rows hold")


def _slice(use: Use) -> None:
    if use.given(3) is None and use.attributes.get("axes") is None:
        raise NotRowWise("does not say its axes, and so cuts rows away: name the axes of the features")


_EACH = Operator()
_LAST = Operator(axes=Axes(default=-1))
_REDUCE = Operator(axes=Axes("axes", 1))
_SOFTMAX = Operator(axes=Axes("axis", default=-1))
_ARG = Operator(axes=Axes("axis", default=0))

_ELEMENTWISE = (
    *("Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "BitwiseAnd", "BitwiseNot"),
    *("BitwiseOr", "BitwiseXor", "Cast", "Ceil", "Celu", "Clip", "Constant", "Cos", "Cosh", "Div", "Elu", "Equal"),
    *("Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "IsInf"),
    *("IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not"),
    *("Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"),
    *("Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Where", "Xor"),
)
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_ROWS_OF_FEATURES = (
    *("FeatureVectorizer", "Imputer", "LinearClassifier", "LinearRegressor", "Normalizer", "SVMClassifier"),
    *("SVMRegressor", "Scaler", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"),
)
ML = "ai.onnx.ml"

OPERATORS: dict[tuple[str, str], Operator] = {
    **{("", name): _EACH for name in _ELEMENTWISE},
    **{("", f"Reduce{what}"): _REDUCE for what in _REDUCTIONS},
    **{("", name): _SOFTMAX for name in ("Softmax", "LogSoftmax", "Hardmax")},
    **{("", name): _ARG for name in ("ArgMax", "ArgMin")},
    ("", "BatchNormalization"): Operator((1, 2, 3, 4), Axes(default=1), 1, _inference),
    ("", "Concat"): Operator(axes=Axes("axis")),
    ("", "Dropout"): Operator((1, 2), outputs=1, check=_inference),
    ("", "Flatten"): Operator(axes=Axes("axis", default=1)),
    ("", "Gather"): Operator(axes=Axes("axis", default=0), check=_gather),
    ("", "GatherElements"): Operator(axes=Axes("axis", default=0), check=_elements),
    ("", "Gemm"): Operator((1, 2), check=_gemm),
    ("", "LayerNormalization"): Operator((1, 2), Axes("axis", default=-1), 1),
    ("", "MatMul"): Operator((1,)),
    ("", "Reshape"): Operator((1,), check=_reshape),
    ("", "Slice"): Operator((1, 2, 3, 4), Axes("axes", 3), check=_slice),
    ("", "Split"): Operator((1,), Axes("axis", default=0)),
    ("", "Squeeze"): Operator((1,), check=_squeeze),
    ("", "TopK"): Operator((1,), Axes("axis", default=-1)),
    ("", "Transpose"): Operator(check=_transpose),
    ("", "Unsqueeze"): Operator((1,)),
    **{(ML, name): _LAST for name in _ROWS_OF_FEATURES},
    **{(ML, name): _EACH for name in ("Binarizer", "LabelEncoder", "OneHotEncoder")},
    (ML, "ArrayFeatureExtractor"): Operator(axes=Axes(default=-1), check=_extractor),
}
"""Domain and name -> how it may be used. Others need ``models_allow``."""

_CHANCE = "it draws random numbers, and would not give the same scores again"
_WITHIN = "it has a graph within it: loops and branches are not run"
_SIZE = "its output can be of any size"
_BATCH = "what it gives for a row depends on the rows beside it"
REASONS: dict[str, str] = {
    **dict.fromkeys(
        ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"), _CHANCE
    ),
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), _WITHIN),
    **dict.fromkeys(
        ("CenterCropPad", "ConstantOfShape", "Expand", "EyeLike", "Pad", "Range", "Resize", "Tile", "Upsample"), _SIZE
    ),
    **dict.fromkeys(("CumSum", "GRU", "LSTM", "NonZero", "RNN", "Shape", "Size", "Unique", "Compress"), _BATCH),
    "ZipMap": "it gives dictionaries, which are no scores: export the classifier without it (zipmap=False)",
}
"""Why some are not among them; the message says it."""


def name_of(domain: str, op_type: str) -> str:
    """An operator's name as ``models_allow`` has it: with its domain, unless that is ONNX's first."""
    return f"{domain}:{op_type}" if domain else op_type
