"""What a model must show before it scores: at the batch of a worker, what replay promises of it."""

from __future__ import annotations

import numpy as np

from headrace.errors import ModelRejected
from headrace.models.package.probes import Probes
from headrace.models.score.feeding import Feeding, Matrix
from headrace.models.score.invariance import at_each_load, differing, told
from headrace.models.score.session import ScoringModel, one_line

LABEL = "label"
"""An output, the class of each row, that headrace's own models had before they were published without it, though their
manifests never declared it. Nothing reads it; without them, their past could not be replayed."""
_ROWS = 17
"""Rows on which the outputs are held against the manifest."""
_WORK, _LEAST = 100_000_000_000, 1_024
"""Rows times bytes of the model that are scored in each other way, and rows at least: fewer than all for a model over
12 MB, since one of 64 MB may take 32 million operations a row."""


def prove(model: ScoringModel, tried: Probes) -> None:
    """Try a model on as many rows as a worker scores at a time.

    Args:
        model: loaded, to be scored by onnxruntime.
        tried: the rows.

    Raises:
        ModelRejected: it has other outputs than its manifest declares, gives other bits in another batch or a second
            time, or has no finite answer to an ordinary row. The message says which.
    """
    try:
        _declared(model, tried)
        scores = model.score(tried.rows)
        _finite(model, tried, scores)
        _invariant(model, tried, scores)
    except ModelRejected:
        raise
    except Exception as e:  # noqa: BLE001 - onnxruntime raises many kinds, none with a common base
        short = model.model_id[:12]
        raise ModelRejected(f"model {short}: it cannot score {len(tried.rows)} rows: {one_line(e)}") from None


def _declared(model: ScoringModel, tried: Probes) -> None:
    """Exactly the declared outputs, as declared."""
    short, manifest = model.model_id[:12], model.manifest
    feeding = Feeding.parse(manifest.batching)
    count = feeding.rows if feeding.kind == "fixed" else max(feeding.rows, _ROWS)
    found = model.outputs(tried.rows[np.arange(count) % len(tried.rows)])
    declared = {o.name: o for o in manifest.outputs}
    found = [o for o in found if o[0] in declared or (o[0], o[1], o[2].shape) != (LABEL, "tensor(int64)", (count,))]
    more, fewer = {n for n, _, _ in found} - declared.keys(), declared.keys() - {n for n, _, _ in found}
    if more:
        raise ModelRejected(
            f"model {short}: it has outputs {sorted(more)}, which its manifest does not declare: export it without them"
        )
    if fewer:
        raise ModelRejected(f"model {short}: it lacks outputs {sorted(fewer)}, which its manifest declares")
    for name, dtype, value in found:
        wanted = declared[name]
        shape = [count if axis == 0 and size == -1 else size for axis, size in enumerate(wanted.shape)]
        fits = len(shape) == value.ndim and all(w in (-1, s) for w, s in zip(shape, value.shape, strict=True))
        if dtype != wanted.dtype or not fits:
            raise ModelRejected(
                f"model {short}: of {count} rows its output {name!r} is a {dtype} of shape {list(value.shape)}; "
                f"its manifest declares {wanted.dtype} {wanted.shape}"
            )


def _invariant(model: ScoringModel, tried: Probes, scores: Matrix) -> None:
    count = min(len(tried.rows), max(_LEAST, _WORK // model.manifest.size))
    if found := differing(model.score, tried.rows, scores, at_each_load(count)):
        raise ModelRejected(
            f"model {model.model_id[:12]}: fed {model.manifest.batching}, its scores have other bits in another batch "
            f"or at another time ({told(found)}): no replay could give them again"
        )


def _finite(model: ScoringModel, tried: Probes, scores: Matrix) -> None:
    wrong = np.flatnonzero(tried.ordinary & ~np.isfinite(scores).all(axis=1))
    if len(wrong):
        first = int(wrong[0])
        values = zip(model.manifest.features, tried.rows[first].tolist(), strict=True)
        row = ", ".join(f"{name} = {value:.9g}" for name, value in list(values)[:6])
        raise ModelRejected(
            f"model {model.model_id[:12]}: it answers {len(wrong)} of {int(tried.ordinary.sum())} ordinary rows with "
            f"NaN or infinity, as {scores[first].tolist()} for {row}: keep its inputs where it is defined (Clip, Max)"
        )
