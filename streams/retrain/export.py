"""From a fitted model to ONNX, and what is shown of it before it is published."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType

from headrace.errors import TrainingRefused
from headrace.records import Certificate, FeatureBaseline
from streams.retrain.dataset import Matrix

INPUT, SCORES = "features", "probabilities"
PARITY_TOLERANCE = 1e-5
PADDINGS = (2, 4, 8, 16, 32)
_BATCHES = (2, 3, 7, 16, 33, 64, 257, 1024)


def to_onnx_bytes(model: Any, features: int) -> bytes:
    """The model as ONNX: input ``features`` float32 (n, features), output ``probabilities`` float32 (n, 2)."""
    onnx = to_onnx(
        model, initial_types=[(INPUT, FloatTensorType([None, features]))], options={"zipmap": False}, target_opset=18
    )
    return bytes(onnx.SerializeToString())


class Exported:
    """An ONNX model under test."""

    def __init__(self, onnx: bytes) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])

    def scores(self, x: Matrix) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """Probability of 1, float32 (n,)."""
        return np.asarray(self._session.run([SCORES], {INPUT: x})[0][:, 1], dtype=np.float32)


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


def batching(exported: Exported, x: Matrix) -> tuple[str, Certificate]:
    """Find how the model must be fed so that a row's bits do not depend on its batch.

    Scores of the same rows are compared bit for bit over several batch sizes; where a row alone differs, the
    least padding that makes it agree is found.
    """
    rows = x[: max(_BATCHES)]
    whole = exported.scores(rows)

    def agree(size: int, pad: int) -> bool:
        for start in range(0, min(len(rows), 8 * size), size):
            part = rows[start : start + size]
            padded = np.zeros((max(pad, len(part)), rows.shape[1]), dtype=np.float32)
            padded[: len(part)] = part
            if exported.scores(padded)[: len(part)].tobytes() != whole[start : start + len(part)].tobytes():
                return False
        return True

    sizes = [1, *(b for b in _BATCHES if b <= len(rows))]
    for pad in (1, *PADDINGS):
        if all(agree(size, pad) for size in sizes):
            how = "any" if pad == 1 else f"at_least({pad})"
            detail = f"bits agree over batches of {', '.join(map(str, sizes))} rows when fed {how}"
            return how, Certificate(name="batch_invariance", passed=True, detail=detail)
    detail = f"bits differ between batch sizes even when padded to {PADDINGS[-1]} rows"
    return f"at_least({PADDINGS[-1]})", Certificate(name="batch_invariance", passed=False, detail=detail)


def baseline(x: Matrix, features: tuple[str, ...], bins: int = 10) -> list[FeatureBaseline]:
    """Distribution of each feature over at most ``bins`` bins cut at its quantiles.

    A bin holds the values v with edge[i-1] < v <= edge[i].
    """
    found = []
    for i, name in enumerate(features):
        values = x[:, i].astype(np.float64)
        edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
        counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
        found.append(FeatureBaseline(feature=name, edges=edges.tolist(), shares=(counts / len(values)).tolist()))
    return found
