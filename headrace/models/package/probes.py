"""The rows that a model is tried on: drawn, from a fixed seed, from what its manifest says it was trained on.

Ordinary rows lie where the features did in training, within the manifest's baseline, widened by its own span; without
a baseline they are small numbers of either sign. A zero is ordinary everywhere: it is what a count of nothing is. The
others hold the ends of what a float can be.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.models.score.feeding import Matrix
from headrace.schema.records import FeatureBaseline, ModelManifest

_LARGEST = float(np.finfo(np.float32).max)
_EDGES = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 1e-38, 1e6, -1e6, 16777217.0, 1e30, -1e30, _LARGEST, -_LARGEST]
_EXTREME = 8
"""Of so many rows one is made of the ends of floats."""
_ZEROS = 0.1
_Values = np.ndarray[tuple[int], np.dtype[np.float64]]


class Probes(NamedTuple):
    """Rows to try a model on.

    Attributes:
        rows: float32 (n, features), all finite.
        ordinary: bool (n,), whether a model must have a finite answer.
    """

    rows: Matrix
    ordinary: np.ndarray[tuple[int], np.dtype[np.bool_]]


def probes(manifest: ModelManifest, count: int) -> Probes:
    """``count`` rows; the first two are zeros of either sign. The same manifest gives the same rows."""
    random = np.random.default_rng(0)
    known = {b.feature: b for b in manifest.baseline}
    columns = [_trained(known.get(name), count, random) for name in manifest.features]
    rows = np.stack(columns, axis=1).clip(-_LARGEST, _LARGEST).astype(np.float32)
    rows[random.random(rows.shape) < _ZEROS] = 0.0
    ordinary = np.arange(count) % _EXTREME != _EXTREME - 1
    far = rows[~ordinary]
    edges = np.array(_EDGES, dtype=np.float32)[random.integers(0, len(_EDGES), far.shape)]
    rows[~ordinary] = np.where(random.random(far.shape) < random.random((len(far), 1)), edges, far)
    rows[:2] = np.array([[0.0], [-0.0]], dtype=np.float32)[: len(rows)]
    return Probes(rows, ordinary)


def _trained(baseline: FeatureBaseline | None, count: int, random: np.random.Generator) -> _Values:
    edges = np.array(sorted({e for e in (baseline.edges if baseline else []) if np.isfinite(e)}), dtype=np.float64)
    if not len(edges):
        drawn = random.normal(size=count) * 10.0 ** random.integers(0, 4, count)
        return np.where(random.random(count) < 0.5, drawn, np.rint(drawn))
    span = edges[-1] - edges[0] or 1.0
    cuts = np.array([edges[0] - span, *edges, edges[-1] + span])
    bins = random.integers(0, len(cuts) - 1, count)
    drawn = cuts[bins] + (cuts[bins + 1] - cuts[bins]) * random.random(count)
    drawn = np.where(random.random(count) < 0.5, drawn, edges[random.integers(0, len(edges), count)])
    # A bin may begin just below a whole number.
    after = np.nextafter(edges.clip(-_LARGEST, _LARGEST).astype(np.float32), np.float32(np.inf))
    whole = (edges == np.rint(edges)) | (after == np.rint(after))
    return np.rint(drawn) if whole.all() else drawn
