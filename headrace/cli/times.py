"""Times and spans as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from headrace.errors import ConfigError

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def time_given(option: str, given: str | None) -> datetime | None:
    """A time in ISO 8601, UTC where it names no zone.

    Raises:
        ConfigError: it is none.
    """
    if given is None:
        return None
    try:
        when = datetime.fromisoformat(given)
    except ValueError:
        raise ConfigError(f"{option} {given}: give a time as in 2026-11-25T14:00:00Z") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def span_given(option: str, given: str) -> timedelta:
    """A span such as ``45s``, ``30m``, ``12h``, ``2d`` or ``1w``.

    Raises:
        ConfigError: it is none.
    """
    match = _SPAN.fullmatch(given.strip())
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])}) if match else _no_span(option, given)
    except OverflowError:
        return _no_span(option, given)


def _no_span(option: str, given: str) -> timedelta:
    raise ConfigError(f"{option} {given}: give a span as in 45s, 30m, 12h, 2d or 1w")
