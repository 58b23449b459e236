"""Spans of time as people write them: ``45s``, ``10m``, ``12h``, ``30d``, ``1w``."""

from __future__ import annotations

import re
from datetime import timedelta

from headrace.errors import ConfigError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORM = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)


def parse_span(text: str) -> timedelta | None:
    """The span that a text says; None where it says none."""
    match = _FORM.fullmatch(text.strip())
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])}) if match else None
    except OverflowError:
        return None


def duration(given: timedelta | str, what: str) -> timedelta:
    """A span of time.

    Args:
        given: a timedelta, or a number and a unit: ``s``, ``m``, ``h``, ``d`` or ``w``.
        what: what it is, for the error.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(given, timedelta):
        return given
    if isinstance(given, str) and (span := parse_span(given)) is not None:
        return span
    raise ConfigError(f"{what} {given!r}: give a timedelta, or a span as in 45s, 30m, 12h, 2d or 1w")
