"""A stretch of one partition."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl


class Span(NamedTuple):
    """Offsets from ``start`` to before ``stop``."""

    start: int
    stop: int

    def holds(self, column: str) -> pl.Expr:
        """Rows whose offset in ``column`` lies in the span."""
        return (pl.col(column) >= self.start) & (pl.col(column) < self.stop)
