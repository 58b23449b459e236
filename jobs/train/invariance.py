"""The batch-invariance certificate: how a model must be fed so that a row's bits do not depend on its batch.

The same rows are scored in batches of many sizes and in several orders, and the scores are compared bit for bit. The
first way of feeding under which all agree is stamped into the manifest: rows as they come, else the least padding,
else blocks of a fixed size.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headrace.models.score import invariance
from headrace.models.score.feeding import Feeding, Matrix
from headrace.models.score.invariance import SIZES, Batches, Run, told
from headrace.schema.records import Certificate

ROWS = max(SIZES)
WAYS = (Feeding(), *(Feeding("at_least", n) for n in (2, 4, 8, 16, 32, 64)), *(Feeding("fixed", n) for n in (16, 256)))
ORDERS = ("as they come", "reversed", "shuffled", "shuffled again")
_BATCHES, _ALONE = 24, 128
"""Batches of each size that are scored, spread over the rows; of the small ones as many as hold so many rows."""


def batching(run: Run, x: Matrix) -> tuple[str, Certificate]:
    """Find how the model must be fed.

    Args:
        run: the model, float32 (n, features) -> float32 (n, k), without any padding of its own.
        x: rows to try it on; repeated to 4096 where they are fewer.

    Returns:
        The manifest's ``batching``, and the certificate, which has failed where bits differ however it is fed.
    """
    rows = np.ascontiguousarray(np.resize(x, (ROWS, x.shape[1])))
    alone = differing(run, rows, Feeding())
    for way in WAYS:
        if not differing(run, rows, way):
            tried = f"{len(SIZES)} batch sizes from 1 to {ROWS} and {len(ORDERS)} orders"
            detail = f"bits agree over {tried} when fed {way}"
            if alone:
                detail += f"; as they come they differ, {told(alone)}"
            return str(way), Certificate(name="batch_invariance", passed=True, detail=detail)
    last = WAYS[-1]
    detail = f"bits differ even when fed {last}: {told(differing(run, rows, last))}"
    return str(last), Certificate(name="batch_invariance", passed=False, detail=detail)


def differing(run: Run, rows: Matrix, way: Feeding) -> dict[str, float]:
    """Where the bits of ``rows`` depend on their batch, when fed one way.

    Returns:
        Batch size or order -> share of its rows that differ; empty where none does.
    """
    return invariance.differing(lambda part: way.feed(run, part), rows, way.feed(run, rows), _batches(len(rows)))


def _batches(count: int) -> Iterator[Batches]:
    for size in SIZES:
        starts = np.unique(
            np.linspace(0, count - size, min(max(_BATCHES, _ALONE // size), count // size)).astype(np.int64)
        )
        yield f"{size} at a time", [np.arange(start, start + size) for start in starts.tolist()]
    random = np.random.default_rng(0)
    orders = (np.arange(count)[::-1].copy(), random.permutation(count), random.permutation(count))
    for name, order in zip(ORDERS[1:], orders, strict=True):
        yield name, [order]
