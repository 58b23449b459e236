"""What a label means."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Binary:
    """A yes-or-no target: the label is 0 or 1, the model's output the probability of 1."""

    name: str

    @property
    def labels(self) -> str:
        """The labels there are, in words."""
        return "0 or 1"

    def takes(self, labels: pl.Series) -> pl.Series:
        """Which labels, Float64 (n,), are of the target: Boolean (n,); null, NaN and infinity are not."""
        return ((labels == 0.0) | (labels == 1.0)).fill_null(False)
