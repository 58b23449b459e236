"""The gates a candidate passes before a person sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["block", "advise"]


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What a candidate is held to before a person sees it. A gate blocks, or only advises."""

    quality: Mode = "block"
    quality_margin: float = 0.01
    """How much worse than the champion's log loss on the same examples a candidate may be."""
    parity: Mode = "block"
    contract: Mode = "block"
