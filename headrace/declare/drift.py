"""When the monitor asks for a retraining."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True)
class Drift:
    """When the monitor asks for a retraining. Spans are event time."""

    window: timedelta = timedelta(days=7)
    psi: float = 0.25
    """Population stability index of a feature above which a window has drifted (0.25: the usual 'major shift').

    In windows of few rows it is large by chance: a window has drifted only where so many rows of the very same
    distribution would hardly look so.
    """
    ignore: tuple[str, ...] = ()
    """Features that move by nature (the day of the year) and are no sign of drift."""
    error_every: timedelta = timedelta(days=1)
    """The champion's error is watched as its mean over each such span, in every partition."""
    error_slack: float = 0.01
    """Page-Hinkley: rise of the mean error that is let pass."""
    error_threshold: float = 0.8
    """Page-Hinkley: sum of rises beyond the slack at which the error has drifted."""
    cooldown: timedelta = timedelta(days=21)
    """No second drift trigger within this span of the last trigger."""
