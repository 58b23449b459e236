"""Models that must never be used: each as a package, with what must be said of it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from headrace.declare.pipeline import Pipeline
from headrace.jobs.train.export import INPUT, SCORES
from headrace.models.package.package import CHUNK_BYTES, Package, cut, digest
from headrace.models.package.signing import sign
from headrace.schema.records import ModelChunk
from headrace.testing.models import model_package


class Keys(NamedTuple):
    """Private keys: of who is trusted, of who is not, of who is no longer."""

    trusted: Path
    stranger: Path
    revoked: Path


class Hostile(NamedTuple):
    """A model as it is published, and what a worker must say of it."""

    name: str
    package: Package
    chunks: list[ModelChunk]
    reason: str


Build = Callable[[], onnx.ModelProto]


def _model(
    nodes: list[onnx.NodeProto],
    tensors: list[onnx.TensorProto] | None = None,
    *,
    given: str = INPUT,
    dtype: int = TensorProto.FLOAT,
    width: int = 2,
    opset: int = 17,
    output: str = SCORES,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info(given, dtype, [None, width])],
        [helper.make_tensor_value_info(output, dtype, [None, 2])],
        tensors or [],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("evil", 1)]
    if not any(n.domain == "evil" for n in nodes):
        opsets.pop()
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _matmul(width: int = 2, **more: object) -> onnx.ModelProto:
    weights = numpy_helper.from_array(np.ones((width, 2), dtype=np.float32), "w")
    given = str(more.get("given", INPUT))
    output = str(more.get("output", SCORES))
    node = helper.make_node("MatMul", [given, "w"], [output])
    return _model([node], [weights], width=width, **more)  # type: ignore[arg-type]


def external() -> onnx.ModelProto:
    model = _matmul()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "/etc/passwd"), ("offset", "0"), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return model


def custom_op() -> onnx.ModelProto:
    return _model([helper.make_node("Steal", [INPUT], [SCORES], domain="evil")])


def expand_bomb() -> onnx.ModelProto:
    shape = numpy_helper.from_array(np.array([1 << 15, 1 << 15, 2], dtype=np.int64), "shape")
    return _model([helper.make_node("Expand", [INPUT, "shape"], [SCORES])], [shape])


def doubling_functions() -> onnx.ModelProto:
    """Each function calls the one before it twice: thirty of them are a billion nodes."""
    model = _model([helper.make_node("f29", [INPUT], [SCORES], domain="evil")])
    for level in range(30):
        inner = f"f{level - 1}" if level else "Identity"
        domain = "evil" if level else ""
        nodes = [
            helper.make_node(inner, ["x"], ["y"], domain=domain),
            helper.make_node(inner, ["y"], ["z"], domain=domain),
        ]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)]
        model.functions.append(helper.make_function("evil", f"f{level}", ["x"], ["z"], nodes, opsets))
    return model


def endless_loop() -> onnx.ModelProto:
    inside = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["x"], ["y"])],
        "inside",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2]),
        ],
    )
    often = numpy_helper.from_array(np.array(1 << 62, dtype=np.int64), "often")
    forever = numpy_helper.from_array(np.array(True), "forever")
    return _model([helper.make_node("Loop", ["often", "forever", INPUT], [SCORES], body=inside)], [often, forever])


def chance() -> onnx.ModelProto:
    return _model([helper.make_node("RandomUniformLike", [INPUT], [SCORES])])


def _without(operator: str) -> str:
    return f'Export the model without it, or allow it: models_allow = ["{operator}"]'


ONNX: dict[str, tuple[Build, str]] = {
    "external data path": (external, "its tensor 'w' lies in another file: save the model as one file"),
    "custom op": (
        custom_op,
        "it needs operators of evil, which are not ONNX's own: export it without them, or allow each that it uses: "
        'models_allow = ["evil:..."]',
    ),
    "Expand bomb": (expand_bomb, f"it uses Expand (node 0): its output can be of any size. {_without('Expand')}"),
    "doubling functions": (doubling_functions, "it defines functions of its own (f0): export it with them inlined"),
    "Loop to 2^62": (
        endless_loop,
        "it has a graph within its graph (node 0, Loop): loops and branches are not run; export it without them, with "
        "Where instead of If",
    ),
    "chance": (
        chance,
        f"it uses RandomUniformLike (node 0): it draws random numbers, and would not give the same scores again. "
        f"{_without('RandomUniformLike')}",
    ),
    "unknown opset": (lambda: _matmul(opset=999), "it is written for operator set 999; the newest known here is"),
    "wrong input name": (lambda: _matmul(given="rows"), "it takes [('rows', 'tensor(float)', 2)], the manifest says"),
    "wrong dtype": (lambda: _typed(), "it takes [('features', 'tensor(double)', 2)], the manifest says"),
    "wrong shape": (lambda: _matmul(width=3), "it takes [('features', 'tensor(float)', 3)], the manifest says"),
    "no such output": (lambda: _matmul(output="other"), "it has no output 'probabilities'"),
}


def _typed() -> onnx.ModelProto:
    weights = numpy_helper.from_array(np.ones((2, 2)), "w")
    return _model([helper.make_node("MatMul", [INPUT, "w"], [SCORES])], [weights], dtype=TensorProto.DOUBLE)


def hostile_models(pipeline: Pipeline, keys: Keys) -> Iterator[Hostile]:
    """Every hostile model, signed by the trusted key unless it is about that."""
    for number, (name, (build, reason)) in enumerate(ONNX.items()):
        yield _whole(name, _of(pipeline, number, build().SerializeToString()), keys, reason)
    for name, data, reason in (
        ("garbage", b"\x0a\xff\xff garbage", "its bytes are no ONNX model"),
        ("no graph", b"", "its bytes are no ONNX model: they hold no graph"),
        ("pickle", pickle.dumps({"w": [1.0]}), "it is a Python pickle, which would run code when it is read"),
    ):
        yield _whole(name, _of(pipeline, 50, data), keys, reason)
    seed = iter(range(60, 99))

    def good() -> Package:
        return sign(model_package(pipeline, next(seed)), keys.trusted)

    package = good()
    flipped = bytearray(package.onnx)
    flipped[len(flipped) // 2] ^= 1
    yield Hostile("a flipped bit", package, _chunks(package, bytes(flipped)), "does not have the digest the manifest")
    package = good()
    yield Hostile("a cut chunk", package, _chunks(package, package.onnx[:-9]), "does not have the digest the manifest")
    package = good()
    yield Hostile("a missing chunk", package, [], "chunk 0 of 1 is missing")
    package = good()
    yield _claiming("10^9 chunks", package, {"size": 10**9 * CHUNK_BYTES}, keys, "bytes, over the budget of")
    package = good()
    swapped = {"features": package.manifest.features[::-1]}
    yield _claiming("swapped columns", package, swapped, keys, "are not the pipeline's (price, seen_10m) in order")
    package = model_package(pipeline, next(seed))
    yield Hostile("unsigned", package, cut(package.onnx), "it is not signed")
    package = sign(model_package(pipeline, next(seed)), keys.stranger)
    yield Hostile("signed by a stranger", package, cut(package.onnx), "its signature is by no key that is trusted")
    package = sign(model_package(pipeline, next(seed)), keys.revoked)
    yield Hostile("signed by a revoked key", package, cut(package.onnx), "which is revoked")
    package = good()
    altered = package.manifest.model_copy(update={"metrics": {"auc": 1.0, "log_loss": 0.0}})
    yield Hostile("an altered manifest", Package(altered, package.onnx), cut(package.onnx), "or it is of other bytes")
    package = good()
    noise = package.manifest.model_copy(update={"signature": b"\x00\x01 no signature"})
    yield Hostile("a garbled signature", Package(noise, package.onnx), cut(package.onnx), "or it is of other bytes")


def _of(pipeline: Pipeline, seed: int, data: bytes) -> Package:
    """The manifest of a sound model over other bytes."""
    manifest = model_package(pipeline, 500 + seed).manifest
    update = {"model_id": digest(data), "size": len(data), "chunks": [c.digest for c in cut(data)]}
    return Package(manifest.model_copy(update=update), data)


def _whole(name: str, package: Package, keys: Keys, reason: str) -> Hostile:
    return Hostile(name, sign(package, keys.trusted), cut(package.onnx), reason)


def _claiming(name: str, package: Package, claims: Mapping[str, object], keys: Keys, reason: str) -> Hostile:
    manifest = package.manifest.model_copy(update={**claims, "signature": None})
    return _whole(name, Package(manifest, package.onnx), keys, reason)


def _chunks(package: Package, data: bytes) -> list[ModelChunk]:
    """One chunk of other bytes that claims to be the package's."""
    return [ModelChunk(model_id=package.manifest.model_id, index=0, digest=package.manifest.chunks[0], data=data)]
