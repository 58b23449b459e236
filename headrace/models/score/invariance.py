"""Whether a row's score has the same bits in whatever batch the row stands: asked at publication, and at each load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from headrace.models.score.feeding import Matrix

Run = Callable[[Matrix], Matrix]
Rows = np.ndarray[tuple[int], np.dtype[np.int64]]
Batches = tuple[str, list[Rows]]
"""A way to cut rows into batches: its name, and the numbers of the rows of each batch."""

SIZES: tuple[int, ...] = (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257)
SIZES = (*SIZES, 511, 512, 513, 1000, 1024, 2000, 2048, 4096)
"""Rows of the batches that are compared."""
_ALONE = 64


def differing(run: Run, rows: Matrix, whole: Matrix, ways: Iterable[Batches]) -> dict[str, float]:
    """Where the bits of ``rows`` depend on their batch.

    Args:
        run: the scores of a batch, fed as the manifest says: float32 (n, features) -> float32 (n, k).
        rows: float32 (n, features).
        whole: their scores, all rows in one batch.
        ways: to cut them into batches, each held against all rows at once.

    Returns:
        Name of the way -> share of its rows whose bits differ; empty where none does.
    """
    found: dict[str, float] = {}
    for name, batches in ways:
        unlike = scored = 0
        for batch in batches:
            again = run(rows[batch])
            unlike += int((again.view(np.uint32) != whole[batch].view(np.uint32)).any(axis=1).sum())
            scored += len(batch)
        if unlike:
            found[name] = unlike / scored
    return found


def told(found: dict[str, float]) -> str:
    """What :func:`differing` found, in words."""
    most = max(found, key=lambda name: found[name])
    more = f" and {len(found) - 1} more ways" if len(found) > 1 else ""
    return f"{found[most]:.0%} of the rows {most}{more}"


def at_each_load(count: int) -> Iterator[Batches]:
    """Ways that cost little more than twice as much as all rows at once: a second time (some), shuffled, in batches of
    every size, alone (some)."""
    numbers = np.arange(count)
    yield "a second time", [numbers[: count // 4]]
    yield "shuffled", [np.random.default_rng(0).permutation(count)]
    ends = np.cumsum(SIZES)
    yield "in smaller batches", np.split(numbers, ends[ends < count])
    yield "alone", [numbers[i : i + 1] for i in np.linspace(0, count - 1, min(count, _ALONE)).astype(int).tolist()]
