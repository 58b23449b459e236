"""Times from outside: their zone, their format and the unit of their counts, as declared. Nothing is guessed.

ISO 8601 needs no declaration. A count of a unit that its field's type does not have, another format, and the zone of
times without one do. A count that would lie close to 1970 is refused: it is one of a larger unit, all but surely.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

from headrace.codec.misfit import misfit
from headrace.codec.times import EPOCH, iso, unit
from headrace.codec.tree import Node

UNITS = {"s": Decimal(1_000_000), "ms": Decimal(1_000), "us": Decimal(1), "ns": Decimal("0.001")}
"""Unit of a count -> microseconds."""
NEAR_1970_US = 10**13
"""Counts of fewer microseconds (115 days) are refused where no unit is declared: a count of milliseconds reaches it in
2286."""
_COUNT = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?", re.ASCII)


@dataclass(frozen=True)
class Clock:
    """How times are written, as far as the type of their field does not say it.

    Attributes:
        zone: of times that have none; None: UTC.
        repeated: which of the two is meant where the clocks of ``zone`` went back and an hour came twice; None: such
            times are refused.
        formats: field -> formats as ``datetime.strptime`` has them, the first that fits; the field "" stands for all.
        units: field -> unit of its counts: s, ms, us or ns; the field "" stands for all.
    """

    zone: ZoneInfo | None = None
    repeated: Literal["first", "second"] | None = None
    formats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


DEFAULT = Clock()


def moment(node: Node, value: Any, clock: Clock) -> Any:
    """The time that a value for a timestamp stands for, or the count of the field's own unit; others as they are.

    Raises:
        Misfit: text of no format that is read, a time that the zone does not have, a count of no clear unit.
    """
    if isinstance(value, str):
        found = _read(node, value, clock)
    elif isinstance(value, int | Decimal) and not isinstance(value, bool):
        found = _count(node, Decimal(value), value, clock)
    elif isinstance(value, date) and not isinstance(value, datetime):
        found = datetime(value.year, value.month, value.day)
    else:
        found = value
    if isinstance(found, datetime) and found.tzinfo is None and not node.logical.startswith("local"):
        return _zoned(node, value, found, clock)
    return found


def _read(node: Node, text: str, clock: Clock) -> datetime | int:
    formats = clock.formats.get(node.path) or clock.formats.get("")
    if formats:
        for one in formats:
            try:
                return datetime.strptime(text, one)
            except ValueError:
                continue
        raise misfit(text, node, f"it is not written as {' or '.join(formats)}")
    if _NUMBER.fullmatch(text) and (_unit(node, clock) is not None or _COUNT.fullmatch(text)):
        return _count(node, Decimal(text), text, clock)
    found = iso(node, text)
    if found is None:
        raise misfit(text, node, "times are read as ISO 8601 (2024-03-01T10:00:00Z); declare any other format")
    return found


def _unit(node: Node, clock: Clock) -> str | None:
    return clock.units.get(node.path) or clock.units.get("")


def _count(node: Node, number: Decimal, value: object, clock: Clock) -> int:
    declared = _unit(node, clock)
    if declared is not None:
        counted = number * UNITS[declared] / unit(node)
        if counted != counted.to_integral_value():
            raise misfit(value, node, "it would be rounded")
        return int(counted)
    if number != number.to_integral_value():
        raise misfit(value, node, "a count has no fraction; declare its unit if it is another")
    count = int(number)
    if abs(count) * unit(node) < NEAR_1970_US:
        as_it_is = EPOCH + timedelta(microseconds=count * unit(node))
        raise misfit(value, node, f"that would be {as_it_is:%Y-%m-%d %H:%M}; declare its unit if it is another")
    return count


def _zoned(node: Node, value: object, found: datetime, clock: Clock) -> datetime:
    if clock.zone is None:
        return found.replace(tzinfo=UTC)
    first, second = (found.replace(tzinfo=clock.zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    if first.astimezone(UTC).astimezone(clock.zone).replace(tzinfo=None, fold=0) != found:
        raise misfit(value, node, f"the clocks of {clock.zone.key} passed over it")
    if clock.repeated is None:
        raise misfit(value, node, f"in {clock.zone.key} it came twice; declare which of the two is meant")
    return first if clock.repeated == "first" else second
