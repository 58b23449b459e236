"""Times and offsets on the command line: which part of the log a command is about."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from headrace.audit.scope import Window
from headrace.errors import ConfigError
from headrace.replay.bounds import Bounds, Edge

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


def bounds(since: str | None, until: str | None) -> Bounds:
    """The same, where offsets may stand in the place of a time: ``0:1500,1:20``, by partition.

    Raises:
        ConfigError: one is neither, or names a partition twice.
    """
    return Bounds(_edge("--from", since), _edge("--to", until))


def _edge(option: str, given: str | None) -> Edge:
    if given is None or not re.fullmatch(r"\d+:\d+(,\d+:\d+)*", given):
        return _time(option, given, ", or offsets as in 0:1500,1:20")
    pairs = [pair.split(":") for pair in given.split(",")]
    offsets = {int(partition): int(offset) for partition, offset in pairs}
    if len(offsets) != len(pairs):
        raise ConfigError(f"{option} {given}: it names a partition twice")
    return offsets


def _time(option: str, given: str | None, otherwise: str = "") -> datetime | None:
    if given is None:
        return None
    try:
        when = datetime.fromisoformat(given)
    except ValueError:
        raise ConfigError(f"{option} {given}: give a time as in 2026-11-25T14:00:00Z{otherwise}") from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    if when < EPOCH:
        raise ConfigError(f"{option} {given}: no record came to a log before 1970; give a time as in {EPOCH:%Y-%m-%d}")
    return when
