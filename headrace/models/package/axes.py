"""Where each tensor of a model has its rows: the axis is followed from node to node, at three sizes of the batch.

What the file says does not tell it: an axis may be counted from the end, and two tensors of n rows may be combined to
n times n. So the model is run on a few rows with every tensor as an output.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime as ort

from headrace.errors import ModelRejected
from headrace.models.package.scan import Step
from headrace.models.score.feeding import Matrix
from headrace.models.score.session import one_line, open_session

SIZES = (13, 17, 1)
"""Rows: primes that no width shares both of, and the size at which an axis of length 1 may vanish."""

Shapes = Mapping[str, list[tuple[int, ...]]]
"""Tensor -> its shape at each of the sizes."""


def follow(model_id: str, model: bytes, steps: list[Step], rows: Matrix) -> None:
    """Check that each node keeps each row where it is.

    Args:
        model_id: for messages.
        model: ONNX bytes, scanned.
        steps: what the scan gave.
        rows: float32 (at least 17, features), on which the model is run.

    Raises:
        ModelRejected: a node mixes rows, or makes something else of them than one result for each; the message names
            it. Operators that only ``models_allow`` admits, and what follows them, are not followed.
    """
    short = model_id[:12]
    known = [step for step in steps if step.known]
    if not known:
        return
    try:
        shapes = _shapes(model, known, rows)
    except Exception as e:  # noqa: BLE001 - onnxruntime raises many kinds, none with a common base
        raise ModelRejected(f"model {short}: it cannot score batches of {SIZES} rows: {one_line(e)}") from None
    for step in known:
        if wrong := _wrong(step, shapes):
            raise ModelRejected(f"model {short}: its {step.name} {wrong}: a row's score would depend on its batch")


def _shapes(model: bytes, steps: list[Step], rows: Matrix) -> Shapes:
    names = list(dict.fromkeys(name for step in steps for name in (*step.inputs, *step.outputs)))
    exposed = onnx.load_from_string(model)
    given = exposed.graph.input[0].name
    del exposed.graph.output[:]
    del exposed.graph.value_info[:]  # what the file claims of shapes is not believed
    made = [name for name in names if name != given]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    session = open_session(exposed.SerializeToString(), ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    found: dict[str, list[tuple[int, ...]]] = {name: [] for name in names}
    for size in SIZES:
        part = rows[:size]
        values = {given: part, **dict(zip(made, session.run(made, {given: part}), strict=True))}
        for name, shapes in found.items():
            shapes.append(np.shape(values[name]))
    return found


def _wrong(step: Step, shapes: Shapes) -> str:
    """What a node does that is not row by row; nothing where all is well. Its inputs were found to be well before."""
    for name in step.outputs:
        if _axis(shapes[name]) is None:
            seen = " and ".join(f"{shape} of {n}" for shape, n in zip(shapes[name], SIZES, strict=True))
            return f"does not give one result for each row (shapes {seen} rows)"
    for name in step.inputs[:1]:
        axis, rank = _axis(shapes[name]), len(shapes[name][0])
        assert axis is not None
        if any((a if a >= 0 else a + rank) <= axis for a in step.axes):
            return f"works along axis {axis}, which is that of the rows, or from before it"
    if step.reshapes and any(not _leading(shapes[name]) for name in (*step.inputs, *step.outputs)):
        return "lays rows out anew across an axis before theirs"
    return ""


def _axis(shapes: list[tuple[int, ...]]) -> int | None:
    """The one axis that is as long as the batch, while the others stay as they are; None where there is none."""
    if len({len(shape) for shape in shapes}) != 1:
        return None
    varying = [axis for axis, sizes in enumerate(zip(*shapes, strict=True)) if len({*sizes}) > 1]
    return varying[0] if len(varying) == 1 and [shape[varying[0]] for shape in shapes] == [*SIZES] else None


def _leading(shapes: list[tuple[int, ...]]) -> bool:
    axis = _axis(shapes)
    return axis is not None and np.prod(shapes[0][:axis]) == 1
