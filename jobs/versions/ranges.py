"""Which records of a topic a version is to hold: offset ranges, from words, from a time, or all there is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from headrace.errors import ConfigError
from headrace.kafka.log import Log
from headrace.schema.records import OffsetRange

_RANGE = re.compile(r"\s*(\d+):(\d+)-(\d+)\s*")


def parse_ranges(text: str) -> list[OffsetRange]:
    """Ranges from words as in ``0:0-1500,1:20-900``: partition, first offset, and the offset before which it ends.

    Raises:
        ConfigError: this is no such text, a range holds nothing, or a partition is named twice.
    """
    found: dict[int, OffsetRange] = {}
    for word in text.split(","):
        match = _RANGE.fullmatch(word)
        if match is None:
            raise ConfigError(
                f"--ranges {word.strip()!r}: give PARTITION:FIRST-STOP (STOP itself left out), as in 0:0-1500,1:20-900"
            )
        partition, start, stop = map(int, match.groups())
        if start >= stop:
            raise ConfigError(f"--ranges {word.strip()}: it holds no record; STOP must be greater than FIRST")
        if partition in found:
            raise ConfigError(f"--ranges: partition {partition} is named twice; give one range for it")
        found[partition] = OffsetRange(partition=partition, start=start, stop=stop)
    return [found[p] for p in sorted(found)]


def everything(log: Log, topic: str) -> list[OffsetRange]:
    """All that is on the topic now, up to its last stable offsets."""
    bounds = log.bounds(topic)
    return [OffsetRange(partition=p, start=start, stop=stop) for p, (start, stop) in sorted(bounds.items())]


def before(log: Log, topic: str, when: datetime) -> list[OffsetRange]:
    """All that is on the topic now and came before a time."""
    stops = log.offsets_at(topic, when)
    return [
        r.model_copy(update={"stop": max(r.start, min(r.stop, stops[r.partition]))}) for r in everything(log, topic)
    ]


def check_ranges(log: Log, topic: str, ranges: Sequence[OffsetRange]) -> None:
    """See that every record of the ranges is on the topic.

    Raises:
        ConfigError: there is no such partition, a range goes past its end, or its beginning is no longer there.
    """
    bounds = log.bounds(topic)
    for r in ranges:
        if r.partition not in bounds:
            raise ConfigError(f"{topic} has no partition {r.partition}: it has 0 to {len(bounds) - 1}")
        first, end = bounds[r.partition]
        if r.start < r.stop and r.stop > end:
            raise ConfigError(
                f"{topic}[{r.partition}] ends at {end}: {words([r])} goes past what is committed; end it there"
            )
        if r.start < min(r.stop, first):
            raise ConfigError(
                f"{topic}[{r.partition}] begins at {first}: the records of {words([r])} before that were dropped; "
                f"begin at {first} or after"
            )


def words(ranges: Sequence[OffsetRange]) -> str:
    """Ranges as :func:`parse_ranges` takes them; empty ones are left out."""
    return ",".join(f"{r.partition}:{r.start}-{r.stop}" for r in ranges if r.start < r.stop)
