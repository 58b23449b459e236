"""What of the log is sent to a search engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FORWARDED = ("predictions", "outcomes", "metrics", "decisions", "dead")
"""Topics whose records can leave for a search engine."""


@dataclass(frozen=True, kw_only=True)
class Forward:
    """What of the log leaves for the search engine, and what of it stays behind.

    Fields are named by topic: ``outcomes.key``, ``predictions.features.carrier``; ``*.key`` is that of every topic that
    has one. What stays behind is still in the log.
    """

    topics: tuple[str, ...] = FORWARDED
    drop: tuple[str, ...] = ()
    """Fields that are left out."""
    hash: tuple[str, ...] = ()
    """Fields that a keyed hash (HMAC-SHA-256) stands in for: one word for one value, but which, nobody can say."""
    truncate: Mapping[str, int] = field(default_factory=dict)
    """String field -> how many of its characters leave."""
    period: Literal["day", "month", "all"] = "month"
    """Span of event time that an index holds; what is kept for so long is dropped by whole indices."""
