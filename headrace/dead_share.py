"""What share of the last records may become dead letters before it is said: one number for workers and commands."""

from __future__ import annotations

MANY = 0.05
"""Share of the last records."""
FEW = 20
"""Records below which a share of them says nothing."""


def too_many(dead: int, records: int) -> bool:
    """Whether so many dead letters of so many records are worth a word."""
    return records >= FEW and dead >= MANY * records
