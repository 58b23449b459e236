"""What a model may be made of: looked at as data, before anything runs it.

A model is a fixed graph of ONNX's own operators on tensors it carries itself. Everything else that the format
allows, and that can reach out of the file, run on and on, grow without bound or draw chance numbers, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.message import DecodeError

from headrace.errors import ModelRejected

DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
GROWING = {"ConstantOfShape", "Expand", "EyeLike", "Range", "Resize", "Tile", "Upsample", "Pad", "CenterCropPad"}
"""Operators whose output can be of any size whatever the size of what they are given."""
CHANCE = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
_PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def scan(model_id: str, model: bytes) -> None:
    """Look a model over.

    Raises:
        ModelRejected: it holds what a model may not hold; the message says what.
    """
    try:
        _scan(model)
    except _NotAllowed as e:
        raise ModelRejected(f"model {model_id[:12]}: {e}") from None


class _NotAllowed(Exception):
    """What was found, in words."""


def _scan(model: bytes) -> None:
    if model.startswith(_PICKLE):
        raise _NotAllowed("it is a Python pickle, which would run code when it is read; a model is ONNX")
    try:
        parsed = onnx.load_from_string(model)
    except DecodeError:
        raise _NotAllowed("its bytes are no ONNX model") from None
    if not parsed.HasField("graph"):
        raise _NotAllowed("its bytes are no ONNX model: they hold no graph")
    if parsed.functions:
        raise _NotAllowed(f"it defines functions of its own ({parsed.functions[0].name})")
    if other := [o.domain for o in parsed.opset_import if o.domain not in DOMAINS]:
        raise _NotAllowed(f"it needs operators of {other[0]}, which are not ONNX's own")
    newest = onnx.defs.onnx_opset_version()
    if later := [o.version for o in parsed.opset_import if o.domain in ("", "ai.onnx") and o.version > newest]:
        raise _NotAllowed(f"it is written for operator set {later[0]}; the newest known here is {newest}")
    for node in parsed.graph.node:
        _look_at(node)
    for tensor in _tensors(parsed.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise _NotAllowed(f"its tensor {tensor.name!r} lies in another file")


def _look_at(node: onnx.NodeProto) -> None:
    name = node.op_type
    if node.domain not in DOMAINS:
        raise _NotAllowed(f"it uses operator {node.domain}.{name}, which is not ONNX's own")
    if any(a.HasField("g") or a.graphs for a in node.attribute):
        raise _NotAllowed(f"it has a graph within its graph ({name}): loops and branches are not run")
    if name in GROWING:
        raise _NotAllowed(f"it uses {name}, whose output can be of any size")
    if name in CHANCE:
        raise _NotAllowed(f"it uses {name}: it would not give the same scores again")


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
