"""How a trigger's examples become a model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a trigger's examples become a model."""

    algorithms: tuple[Literal["logistic", "boosting"], ...] = ("logistic", "boosting")
    validation: timedelta = timedelta(days=10)
    """The newest span of the examples' event time, kept apart to choose the model and to judge it."""
    window: timedelta | None = None
    """Newest span of event time to learn from; None: all examples in the trigger's ranges."""
    every: timedelta | None = None
    """Schedule: a trigger each time event time has moved this far since the last one; None: no schedule."""
    minimum: int = 500
    """Fewest examples to train on."""
    seed: int = 7
