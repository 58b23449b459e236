"""A model that scores: an ONNX runtime session with fixed options, fed the way its manifest says."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from headrace.errors import ModelRejected
from headrace.models.package.package import Package
from headrace.models.score.feeding import Feeding, Matrix
from headrace.schema.records import ModelManifest

if TYPE_CHECKING:
    from headrace.models.score.trees import Trees

log = logging.getLogger("headrace.models")

PROVIDER = "CPUExecutionProvider"
THREADS = 1
OPTIMISATION = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
_WARM_UP = (1, 64)
_SORTED_FROM = 256
"""Rows from which on sorting them costs less than it saves."""


@cache
def runtime() -> dict[str, str]:
    """Everything a score's bits depend on beside model and input."""
    return {
        "onnxruntime": ort.__version__,
        "provider": PROVIDER,
        "threads": str(THREADS),
        "optimisation": OPTIMISATION.name,
        "machine": platform.machine(),
        "cpu": _cpu_flags(),
    }


@cache
def runtime_fingerprint() -> str:
    """Sixteen hex digits that stand for :func:`runtime`."""
    there = runtime()
    options = f"threads={there['threads']},optimisation={there['optimisation']}"
    parts = [there["onnxruntime"], there["provider"], options, there["machine"], there["cpu"]]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def open_session(onnx: bytes, optimisation: ort.GraphOptimizationLevel = OPTIMISATION) -> ort.InferenceSession:
    """A session with the options that every score is made with, or with less optimisation."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = THREADS
    options.graph_optimization_level = optimisation
    options.log_severity_level = 4
    return ort.InferenceSession(onnx, options, providers=[PROVIDER])


class ScoringModel:
    """One model, loaded and warm.

    Args:
        package: the checked bytes and their manifest.
        reference: score with onnxruntime alone, trees too: for who holds scores made elsewhere against its own.

    Raises:
        ModelRejected: onnxruntime refuses the bytes, or the graph is not what the manifest says.
    """

    def __init__(self, package: Package, *, reference: bool = False) -> None:
        self.manifest: ModelManifest = package.manifest
        self.model_id = package.manifest.model_id
        self._feeding = Feeding.parse(package.manifest.batching)
        self._sort_by = _column(package.manifest)
        short = self.model_id[:12]
        try:
            self._session = open_session(package.onnx)
        except Exception as e:  # noqa: BLE001 - onnxruntime raises many kinds, none with a common base
            raise ModelRejected(f"model {short}: onnxruntime refuses it: {one_line(e)}") from None
        found = [(i.name, i.type, _width(i.shape)) for i in self._session.get_inputs()]
        wanted = (package.manifest.inputs[0].name, "tensor(float)", len(package.manifest.features))
        if found != [wanted]:
            raise ModelRejected(f"model {short}: it takes {found}, the manifest says {[wanted]}")
        outputs = {o.name for o in self._session.get_outputs()}
        if package.manifest.score_output not in outputs:
            raise ModelRejected(f"model {short}: it has no output {package.manifest.score_output!r}")
        self._input = wanted[0]
        try:
            for rows in _WARM_UP:
                self._scored(np.zeros((rows, wanted[2]), dtype=np.float32))
        except Exception as e:  # noqa: BLE001 - see above
            raise ModelRejected(f"model {short}: it cannot score a row of zeros: {one_line(e)}") from None
        self._trees = None if reference or self._sort_by is None else self._small_trees(package.onnx)

    def score(self, rows: Matrix) -> Matrix:
        """Scores of ``rows``.

        Args:
            rows: float32 (n, features), columns in the manifest's order.

        Returns:
            float32 (n, k); for a binary target k is 1, the probability of 1.
        """
        if self._trees is not None:
            return self._trees.score(rows)
        return self._scored(rows)

    def outputs(self, rows: Matrix) -> list[tuple[str, str, np.ndarray[Any, np.dtype[Any]]]]:
        """Name, type and value of every output that the graph has, for ``rows`` as they come."""
        made = self._session.run(None, {self._input: rows})
        return [(o.name, o.type, np.asarray(v)) for o, v in zip(self._session.get_outputs(), made, strict=True)]

    def _scored(self, rows: Matrix) -> Matrix:
        """As :meth:`score`, by onnxruntime."""
        if self._sort_by is None or len(rows) < _SORTED_FROM:
            return self._feeding.feed(self._run, rows)
        order = np.argsort(rows[:, self._sort_by])
        found = self._feeding.feed(self._run, rows[order])
        scores = np.empty_like(found)
        scores[order] = found
        return scores

    def _small_trees(self, model: bytes) -> Trees | None:
        """The model as trees that give the bits of onnxruntime, where it is such a model."""
        from headrace.models.score.trees import Trees  # onnx with it, which other models need not wait for

        trees = Trees.read(model, self.manifest.score_output, len(self.manifest.features))
        if trees is None:
            return None
        probes = trees.probes()
        if trees.score(probes).tobytes() == self._scored(probes).tobytes():
            return trees
        log.warning("model %s: its trees are scored by onnxruntime, whose bits differ here", self.model_id[:12])
        return None

    def _run(self, rows: Matrix) -> Matrix:
        scores = np.asarray(self._session.run([self.manifest.score_output], {self._input: rows})[0], dtype=np.float32)
        scores = scores.reshape(len(rows), -1)
        return scores[:, 1:] if scores.shape[1] == 2 else scores


def _column(manifest: ModelManifest) -> int | None:
    if manifest.sort_by is None:
        return None
    if manifest.sort_by not in manifest.features:
        short = manifest.model_id[:12]
        raise ModelRejected(f"model {short}: rows are to be sorted by {manifest.sort_by!r}, which is no feature of it")
    return manifest.features.index(manifest.sort_by)


def _width(shape: list[object]) -> object:
    return shape[1] if len(shape) == 2 else shape


def one_line(e: Exception) -> str:
    """What onnxruntime says, on one line of at most 300 characters."""
    return " ".join(str(e).split())[:300]


def _cpu_flags() -> str:
    """The vector instructions kernels are picked by, where the system tells."""
    try:
        with open("/proc/cpuinfo") as info:
            flags = next((line for line in info if line.startswith("flags")), "")
    except OSError:
        return f"{platform.processor()}-{os.name}"
    return " ".join(sorted(f for f in flags.split() if f.startswith(("avx", "sse", "fma", "amx"))))
