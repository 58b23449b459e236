"""Times on the command line: which part of the log a command is about."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.audit.scope import Window
from headrace.errors import ConfigError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def window(since: str | None, until: str | None) -> Window:
    """What ``--from`` and ``--to`` stand for: ISO 8601, UTC where no zone is given.

    Raises:
        ConfigError: one is no time, or the first is not before the second.
    """
    start, stop = _time("--from", since), _time("--to", until)
    if start is not None and stop is not None and start >= stop:
        raise ConfigError(f"--from {since} is not before --to {until}: swap them")
    return Window(start, stop)


def _time(option: str, given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        when = datetime.fromisoformat(given)
    except ValueError:
        raise ConfigError(f"{option} {given}: give a time as in 2026-11-25T14:00:00Z") from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    if when < EPOCH:
        raise ConfigError(f"{option} {given}: no record came to a log before 1970; give a time as in {EPOCH:%Y-%m-%d}")
    return when
