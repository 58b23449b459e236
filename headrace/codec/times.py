"""Times of Avro's logical types, from Python's own and from ISO 8601 text: exactly, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np

from headrace.codec.misfit import misfit
from headrace.codec.numbers import integer, plain
from headrace.codec.tree import Node

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOCAL_EPOCH = datetime(1970, 1, 1)
EPOCH_DAY = EPOCH.toordinal()
DAY_US = 86_400_000_000
MILLIS = 1000
"""Microseconds."""
FIRST_DAY, LAST_DAY = date.min.toordinal() - EPOCH_DAY, date.max.toordinal() - EPOCH_DAY

_CLOCK = r"\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?"
_ZONE = r" ?(?:[Zz]|[+-]\d\d(?::?\d\d)?)"
_IS_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_IS_TIME = re.compile(_CLOCK, re.ASCII)
_EXTENDED = rf"(\d{{4}}-\d\d-\d\d)(?:[Tt ]({_CLOCK})({_ZONE})?)?"
_BASIC = rf"(\d{{8}})[Tt](\d{{4}}(?:\d\d(?:[.,]\d+)?)?)({_ZONE})?"
_IS_MOMENT = re.compile(f"{_EXTENDED}|{_BASIC}", re.ASCII)
_FRACTION = re.compile(r"(?<=[.,])\d+", re.ASCII)


def date_of(node: Node, value: Any) -> int:
    """Days since 1970, of a date, of text as ISO 8601 has it, or of a count of days."""
    found = plain(value)
    if isinstance(found, str) and _IS_DATE.fullmatch(found):
        found = _read(node, found, date.fromisoformat)
    if isinstance(found, date) and not isinstance(found, datetime):
        return found.toordinal() - EPOCH_DAY
    return _within(node, value, _count(node, value), 1)


def time_of(node: Node, value: Any) -> int:
    """The type's units since midnight, of a time without zone, of text as ISO 8601 has it, or of a count."""
    found = value
    if isinstance(found, str) and _IS_TIME.fullmatch(found):
        found = _read(node, found, time.fromisoformat)
    if not isinstance(found, time):
        count = _count(node, value)
        if not 0 <= count < DAY_US // unit(node):
            raise misfit(value, node, "it is outside of a day")
        return count
    if found.tzinfo is not None:
        raise misfit(value, node, "it has a zone, which a time of day does not")
    since = ((found.hour * 60 + found.minute) * 60 + found.second) * 1_000_000 + found.microsecond
    return _in_unit(node, value, since)


def timestamp(node: Node, value: Any) -> int:
    """The type's units since 1970, of a datetime with a zone, of ISO 8601 text (without zone: UTC), or of a count."""
    found = value
    if isinstance(found, str) and (moment := iso(node, found)) is not None:
        found = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if not isinstance(found, datetime):
        return _within(node, value, _count(node, value), DAY_US // unit(node))
    if found.utcoffset() is None:
        raise misfit(value, node, "it has no zone; give one, as datetime.now(UTC) has")
    return _in_unit(node, value, micros(found - EPOCH))


def local_timestamp(node: Node, value: Any) -> int:
    """The type's units since 1970 by a local clock, of a datetime or of text without zone, or of a count."""
    found = value
    if isinstance(found, str) and (moment := iso(node, found)) is not None:
        found = moment
    if not isinstance(found, datetime):
        return _within(node, value, _count(node, value), DAY_US // unit(node))
    if found.tzinfo is not None:
        raise misfit(value, node, "it has a zone, which a local time does not")
    return _in_unit(node, value, micros(found - LOCAL_EPOCH))


def iso(node: Node, text: str) -> datetime | None:
    """A date and a time as ISO 8601 has them, with its zone if it has one; None: the text has another shape.

    Extended or basic form, T or a space between the two; a date alone is its midnight.

    Raises:
        Misfit: there is no such day or hour, or it has parts of a microsecond.
    """
    shape = _IS_MOMENT.fullmatch(text)
    if shape is None:
        return None
    day, clock, zone = (shape[i] or shape[i + 3] or "" for i in (1, 2, 3))
    moment: datetime = _read(node, f"{day}T{clock or '00:00'}{zone.strip().upper()}", datetime.fromisoformat, text)
    return moment


def unit(node: Node) -> int:
    """Microseconds in one of the units that a type counts in."""
    return MILLIS if node.logical.endswith("millis") else 1


def micros(span: timedelta) -> int:
    """A span in microseconds."""
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def _count(node: Node, value: Any) -> int:
    """A count of the unit that the type is in, since the epoch or midnight: what Avro itself holds."""
    found = plain(value)
    # NumPy tells times of some units as numbers, of whatever unit.
    if isinstance(value, np.datetime64 | np.timedelta64) or isinstance(found, bool) or not isinstance(found, int):
        raise misfit(value, node)
    return integer(node, found)


def _within(node: Node, value: Any, count: int, day: int) -> int:
    """A count that lies in the years 1 to 9999; ``day``: how many units a day has."""
    if not FIRST_DAY * day <= count < (LAST_DAY + 1) * day:
        raise misfit(value, node, "it lies outside of the years 1 to 9999")
    return count


def _in_unit(node: Node, value: Any, since: int) -> int:
    if unit(node) == MILLIS and since % MILLIS:
        raise misfit(value, node, "it has microseconds, which would be cut off")
    return since // unit(node)


def _read(node: Node, text: str, read: Callable[[str], Any], given: str = "") -> Any:
    """What ``read`` makes of text whose seconds have no more than the six digits that Python reads."""
    if (fraction := _FRACTION.search(text)) is not None:
        if fraction[0][6:].strip("0"):
            raise misfit(given or text, node, "it has parts of a microsecond")
        text = text[: fraction.start() - 1] + "." + fraction[0][:6] + text[fraction.end() :]
    try:
        return read(text)
    except ValueError as e:
        raise misfit(given or text, node, str(e)) from None
