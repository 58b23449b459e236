"""What a label means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Binary:
    """A yes-or-no target: the label is 0 or 1, the model's output the probability of 1."""

    name: str
