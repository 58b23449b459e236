"""How many rows a model is given at a time, so that a row's bits do not depend on the rows beside it.

ONNX kernels choose their way by the size of the batch. A manifest's ``batching`` says what its certificate found to be
safe, and every scorer obeys it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from headrace.errors import ModelRejected

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]
MOST_ROWS = 999_999
FULL = 8_000
"""Rows that a worker scores at a time, at most, unless its loop is given another batch."""


@dataclass(frozen=True)
class Feeding:
    """``any``: rows as they come; ``at_least(n)``: fewer are filled up with zeros to n; ``fixed(n)``: n at a time, the
    last ones filled up."""

    kind: Literal["any", "at_least", "fixed"] = "any"
    rows: int = 1

    @classmethod
    def parse(cls, batching: str) -> Feeding:
        """From a manifest's ``batching``.

        Raises:
            ModelRejected: it is none of the three.
        """
        if batching == "any":
            return cls()
        if found := re.fullmatch(r"(at_least|fixed)\(([1-9]\d{0,5})\)", batching):
            return cls("fixed" if found[1] == "fixed" else "at_least", int(found[2]))
        raise ModelRejected(f"batching {batching!r}: this version knows 'any', 'at_least(n)' and 'fixed(n)'")

    def __str__(self) -> str:
        return self.kind if self.kind == "any" else f"{self.kind}({self.rows})"

    def feed(self, run: Callable[[Matrix], Matrix], rows: Matrix) -> Matrix:
        """What ``run``, float32 (n, features) -> (n, k), gives for ``rows`` when it is fed this way."""
        if self.kind == "fixed" and len(rows) > self.rows:
            parts = [rows[i : i + self.rows] for i in range(0, len(rows), self.rows)]
            return np.concatenate([self.feed(run, part) for part in parts])
        if len(rows) >= self.rows:
            return run(rows)
        filled = np.zeros((self.rows, rows.shape[1]), dtype=np.float32)
        filled[: len(rows)] = rows
        return run(filled)[: len(rows)]
