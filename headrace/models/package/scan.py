"""What a model may be made of: looked at as data, before anything runs it.

A model is a fixed graph of operators that take each row by itself (:mod:`headrace.models.package.operators`), on
tensors that its own bytes hold. Everything else is refused: what reaches out of the file, runs on and on, grows without
bound, draws random numbers, or lets one row's score depend on another row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError

from headrace.errors import ModelRejected
from headrace.models.package.operators import OPERATORS, REASONS, Given, NotRowWise, Use, name_of

OLDEST = 7
"""Operator set before which operators meant other things (BatchNormalization and Dropout trained by default)."""
_PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class Step(NamedTuple):
    """A node that works on the rows.

    Attributes:
        name: of node and operator, for messages.
        inputs, outputs: names of the tensors that depend on the rows.
        axes: of its first input, along which it works.
        reshapes: whether it lays the same elements out in another shape.
        known: whether it, and all before it, are among the usual operators.
    """

    name: str
    inputs: list[str]
    outputs: list[str]
    axes: tuple[int, ...]
    reshapes: bool
    known: bool


def scan(model_id: str, model: bytes, allowed: Sequence[str] = ()) -> list[Step]:
    """Look a model over.

    Args:
        model_id: for messages.
        model: ONNX bytes.
        allowed: operators beside the usual ones, as ``models_allow`` names them; how they are used is not looked at.

    Returns:
        The nodes that work on the rows, in the order of the file.

    Raises:
        ModelRejected: it holds what a model may not hold; the message says what, where, and what to do.
    """
    try:
        return _scan(model, frozenset(allowed))
    except _NotAllowed as e:
        raise ModelRejected(f"model {model_id[:12]}: {e}") from None


class _NotAllowed(Exception):
    """What was found, in words."""


def _scan(model: bytes, allowed: frozenset[str]) -> list[Step]:
    if model.startswith(_PICKLE):
        raise _NotAllowed("it is a Python pickle, which would run code when it is read; a model is ONNX")
    try:
        parsed = onnx.load_from_string(model)
    except DecodeError:
        raise _NotAllowed("its bytes are no ONNX model") from None
    if not parsed.HasField("graph"):
        raise _NotAllowed("its bytes are no ONNX model: they hold no graph")
    if parsed.functions:
        raise _NotAllowed(f"it defines functions of its own ({parsed.functions[0].name}): export it with them inlined")
    if parsed.training_info:
        raise _NotAllowed("it holds how it is trained (training_info): export it for inference")
    opsets = _opsets(parsed, allowed)
    if parsed.graph.sparse_initializer:
        name = parsed.graph.sparse_initializer[0].values.name
        raise _NotAllowed(f"its tensor {name!r} is sparse, and may be of any size: write it as a dense one")
    for tensor in _tensors(parsed.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise _NotAllowed(f"its tensor {tensor.name!r} lies in another file: save the model as one file")
    return _Walk(parsed.graph, opsets, allowed).steps()


def _opsets(model: onnx.ModelProto, allowed: frozenset[str]) -> dict[str, int]:
    """Domain -> version of its operator set."""
    usual = {domain for domain, _ in OPERATORS} | {name.rpartition(":")[0] for name in allowed}
    opsets: dict[str, int] = {}
    for opset in model.opset_import:
        domain = _domain(opset.domain)
        if domain not in usual:
            raise _NotAllowed(
                f"it needs operators of {opset.domain}, which are not ONNX's own: export it without them, or allow "
                f'each that it uses: models_allow = ["{opset.domain}:..."]'
            )
        if opsets.setdefault(domain, opset.version) != opset.version:
            raise _NotAllowed(f"it is written for two operator sets of {domain or 'ONNX'} at once")
    newest = onnx.defs.onnx_opset_version()
    if (version := opsets.get("", newest)) > newest:
        raise _NotAllowed(f"it is written for operator set {version}; the newest known here is {newest}")
    if version < OLDEST:
        raise _NotAllowed(f"it is written for operator set {version}; the oldest known here is {OLDEST}")
    return opsets


class _Walk:
    """From the input to the outputs: which tensors depend on the rows, and who makes them."""

    def __init__(self, graph: onnx.GraphProto, opsets: dict[str, int], allowed: frozenset[str]) -> None:
        self._graph = graph
        self._opsets = opsets
        self._allowed = allowed
        self._constants: dict[str, onnx.TensorProto | None] = {t.name: t for t in graph.initializer}
        if len(self._constants) < len(graph.initializer):
            raise _NotAllowed("it holds two tensors of one name")
        self._rows = {i.name for i in graph.input} - self._constants.keys()
        self._unknown: set[str] = set()

    def steps(self) -> list[Step]:
        found = [step for number, node in enumerate(self._graph.node) if (step := self._step(number, node))]
        if fixed := [o.name for o in self._graph.output if o.name not in self._rows]:
            raise _NotAllowed(f"its output {fixed[0]!r} does not depend on its input")
        return found

    def _step(self, number: int, node: onnx.NodeProto) -> Step | None:
        domain = _domain(node.domain)
        operator = name_of(domain, node.op_type)
        called = f"node {node.name!r}" if node.name else f"node {number}"
        rows = [name for name in node.input if name in self._rows]
        if unmade := [name for name in node.input if name and name not in self._rows | self._constants.keys()]:
            raise _NotAllowed(f"its {called} ({operator}) takes {unmade[0]!r}, which nothing before it makes")
        extra = operator in self._allowed
        axes: tuple[int, ...] = ()
        self._look_at(node, operator, called)
        if not extra:
            rule = OPERATORS.get((domain, node.op_type))
            if rule is None:
                raise _NotAllowed(_unlisted(operator, node.op_type, called))
            if rows:
                try:
                    axes = rule.axes_of(self._use(node, domain))
                except NotRowWise as e:
                    raise _NotAllowed(f"its {called} ({operator}) {e}") from None
        made = [name for name in node.output if name]
        if twice := [name for name in made if name in self._rows or name in self._constants]:
            raise _NotAllowed(f"its tensor {twice[0]!r} is made twice")
        if not rows:
            self._constants.update(dict.fromkeys(made, self._value(node)))
            return None
        self._rows.update(made)
        known = not extra and self._unknown.isdisjoint(node.input)
        if not known:
            self._unknown.update(made)
        return Step(f"{called} ({operator})", rows, made, axes, node.op_type in ("Reshape", "Flatten"), known)

    def _look_at(self, node: onnx.NodeProto, operator: str, called: str) -> None:
        if len({a.name for a in node.attribute}) < len(node.attribute):
            raise _NotAllowed(f"its {called} ({operator}) has two attributes of one name")
        for a in node.attribute:
            if a.HasField("g") or a.graphs:
                raise _NotAllowed(
                    f"it has a graph within its graph ({called}, {operator}): loops and branches are not run; export "
                    "it without them, with Where instead of If"
                )
            if a.HasField("sparse_tensor") or a.sparse_tensors:
                raise _NotAllowed(f"its {called} ({operator}) holds a sparse tensor: write it as a dense one")
            if a.ref_attr_name:
                raise _NotAllowed(f"its {called} ({operator}) takes {a.name!r} from a function, and is in none")

    def _use(self, node: onnx.NodeProto, domain: str) -> Use:
        inputs = [Given(name in self._rows, self._constants.get(name)) if name else None for name in node.input]
        attributes = {a.name: list(a.ints) if a.type == onnx.AttributeProto.INTS else a.i for a in node.attribute}
        return Use(node, inputs, attributes, self._opsets.get(domain, 1))

    def _value(self, node: onnx.NodeProto) -> onnx.TensorProto | None:
        """The tensor of a node that only hands on a constant."""
        if node.op_type == "Identity":
            return self._constants.get(node.input[0])
        if node.op_type != "Constant" or len(node.attribute) != 1:
            return None
        value = onnx.helper.get_attribute_value(node.attribute[0])
        if isinstance(value, onnx.TensorProto):
            return value
        if node.attribute[0].name not in ("value_int", "value_ints"):
            return None
        numbers = [value] if isinstance(value, int) else list(value)
        return onnx.helper.make_tensor("", onnx.TensorProto.INT64, [len(numbers)], numbers)


def _unlisted(operator: str, op_type: str, called: str) -> str:
    if ":" in operator and operator.rpartition(":")[0] not in {domain for domain, _ in OPERATORS}:
        return f'it uses {operator} ({called}), which is not ONNX\'s own. Allow it: models_allow = ["{operator}"]'
    why = REASONS.get(op_type, "it is not among the operators that are known to take each row by itself")
    return (
        f'it uses {operator} ({called}): {why}. Export the model without it, or allow it: models_allow = ["{operator}"]'
    )


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
