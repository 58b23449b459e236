"""Times, spans and offsets as people write them on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from headrace.declare.duration import parse_span
from headrace.errors import ConfigError
from headrace.query.audit.scope import Window
from headrace.query.replay.bounds import Bounds, Edge

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def window(since: str | None, until: str | None) -> Window:
    """What ``--from`` and ``--to`` stand for: ISO 8601, UTC where no zone is given.

    Raises:
        ConfigError: one is no time, or the first is not before the second.
    """
    start, stop = time_given("--from", since), time_given("--to", until)
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
        return time_given(option, given, ", or offsets as in 0:1500,1:20")
    pairs = [pair.split(":") for pair in given.split(",")]
    offsets = {int(partition): int(offset) for partition, offset in pairs}
    if len(offsets) != len(pairs):
        raise ConfigError(f"{option} {given}: it names a partition twice")
    return offsets


def time_given(option: str, given: str | None, otherwise: str = "") -> datetime | None:
    """A time in ISO 8601, UTC where it names no zone.

    Raises:
        ConfigError: it is none; ``otherwise`` is what else may stand there.
    """
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


def span_given(option: str, given: str) -> timedelta:
    """A span such as ``45s``, ``30m``, ``12h``, ``2d`` or ``1w``.

    Raises:
        ConfigError: it is none.
    """
    span = parse_span(given)
    if span is None:
        raise ConfigError(f"{option} {given}: give a span as in 45s, 30m, 12h, 2d or 1w")
    return span
