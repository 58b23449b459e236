"""Whole columns to the types of a schema, where that needs no thought: what a batch gains over value after value.

A lane takes the values that plainly fit and leaves the rest, which its caller gives to the encoder of the form
(:mod:`headrace.codec.values`). The encoder decides; a lane may only do what it would do. Tests hold every lane to that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from itertools import chain
from operator import itemgetter
from typing import Any, Literal, NamedTuple

import polars as pl

from headrace.codec.moments import NEAR_1970_US, Clock
from headrace.codec.times import FIRST_DAY, LAST_DAY, unit
from headrace.codec.tree import Field, Node
from headrace.codec.types import polars_type_of

EXACT = 1 << 53
"""Whole numbers below this one have a double each."""
UUID = "^(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_DATE = r"^\d{4}-\d\d-\d\d$"
_OFFSET = r"[+-](?:0\d|1[0-4]):[0-5]\d"
_MOMENTS = {
    ("T", _OFFSET): "%Y-%m-%dT%H:%M:%S%.f%:z",
    (" ", _OFFSET): "%Y-%m-%d %H:%M:%S%.f%:z",
    ("T", "Z"): "%Y-%m-%dT%H:%M:%S%.fZ",
    (" ", "Z"): "%Y-%m-%d %H:%M:%S%.fZ",
    ("T", ""): "%Y-%m-%dT%H:%M:%S%.f",
    (" ", ""): "%Y-%m-%d %H:%M:%S%.f",
}
_DAY_US = 86_400_000_000


class Lane(NamedTuple):
    """A column of the schema's type, and which of its values fit (None: all); the others are not to be looked at."""

    column: pl.Series
    fits: pl.Series | None

    @property
    def fits_most(self) -> bool:
        """Whether it is worth while: at least half of the values fit."""
        return self.fits is None or 2 * int(self.fits.sum()) >= len(self.fits)


class Missing:
    """Stands for a field that an object does not have."""


MISSING = Missing()


def lane_of_text(node: Node, column: pl.Series, clock: Clock, *, empty_is_null: bool) -> Lane | None:
    """Text of one field; None: there is no lane for its type."""
    read = _OF_TEXT.get(node.logical or node.kind)
    if read is None:
        return None
    if empty_is_null and node.null_branch >= 0:
        column = column.set(column == "", None)
    return _optional(node, column, read(node, column, clock))


def lane_of_objects(f: Field, objects: Sequence[Any], clock: Clock) -> Lane | None:
    """One field of objects as a fast parser of JSON gives them; None, where there is no object, is a null."""
    try:
        values = list(map(itemgetter(f.name), objects))
    except (KeyError, TypeError):
        values = [None if row is None else row.get(f.name, MISSING) for row in objects]
        if f.node.null_branch >= 0 and f.default is None:
            values = [None if v is MISSING else v for v in values]
    return lane_of_values(f.node, values, clock)


def lane_of_values(node: Node, values: Sequence[Any], clock: Clock) -> Lane | None:
    """Python values of one type, as a fast parser of JSON gives them, ``MISSING`` where an object lacks one."""
    if node.kind == "record":
        return _record(node, values, clock)
    own = _OWN_TYPES.get(node.logical or node.kind)
    if own is None:
        return None
    kinds = set(map(type, values))
    if node.logical and int in kinds and str not in kinds:
        own = (int,)
    odd = kinds - {*own, type(None)}
    fits = None
    if odd:
        fits = pl.Series([type(v) not in odd for v in values], dtype=pl.Boolean)
        values = [None if type(v) in odd else v for v in values]
    column = _series(own, values)
    if column is None:
        return None
    lane = lane_of_column(node, column, clock)
    if lane is not None and float in own:
        # A whole number may have been rounded on its way into the column, and one of over 64 bits by the parser.
        most = _exact_below(node) if int in kinds else 1 << 63
        fits = _and(fits, (~(lane.column.abs() >= most)).fill_null(True))
    return None if lane is None else Lane(lane.column, _and(fits, lane.fits))


def _record(node: Node, values: Sequence[Any], clock: Clock) -> Lane | None:
    """Objects as a column of structs; None where one has a field that the record has not."""
    own = [v if type(v) is dict else None for v in values]
    names = {f.name for f in node.fields}
    if not names or not names.issuperset(chain.from_iterable(v for v in own if v is not None)):
        return None
    absent = pl.Series([v is None for v in own], dtype=pl.Boolean)
    fits = pl.Series([v is None or type(v) is dict for v in values], dtype=pl.Boolean)
    columns = []
    for f in node.fields:
        lane = lane_of_objects(f, own, clock)
        if lane is None:
            return None
        columns.append(lane.column.alias(f.name))
        if lane.fits is not None:
            fits &= lane.fits | absent
    struct = pl.DataFrame(columns).select(pl.when(~absent).then(pl.struct(pl.all())).alias("record"))["record"]
    lane = _optional(node, struct, Lane(struct, None))
    return None if lane is None else Lane(lane.column, _and(lane.fits, None if fits.all() else fits))


def lane_of_column(node: Node, column: pl.Series, clock: Clock) -> Lane | None:
    """A typed column for one field; None: there is no lane from its type to the field's."""
    kind, dtype = node.logical or node.kind, column.dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        column, dtype = column.cast(pl.String), pl.String()
    if dtype == pl.String:
        read = _OF_TEXT.get(kind) if kind in ("string", "enum", "uuid", "date") or _is_moment(kind) else None
    elif kind == "boolean" and dtype == pl.Boolean:
        read = _as_it_is
    elif kind in ("int", "long") and dtype.is_integer():
        read = _whole
    elif kind in ("int", "long") and dtype.is_float():
        read = _whole_of_binary
    elif kind in ("float", "double") and dtype.is_numeric() and not dtype.is_decimal():
        read = _binary
    elif kind == "string" and dtype.is_integer():
        read = _string_of_whole
    elif kind == "date" and dtype == pl.Date:
        read = _day
    elif kind == "bytes" and dtype == pl.Binary:
        read = _as_it_is
    elif kind == "decimal" and isinstance(dtype, pl.Decimal) and dtype.scale == node.scale:
        read = _as_it_is if dtype.precision is not None and dtype.precision <= node.precision else None
    elif _is_moment(kind) and isinstance(dtype, pl.Datetime):
        read = _moment
    elif _is_moment(kind) and dtype.is_integer():
        read = _count
    else:
        read = None
    lane = read(node, column, clock) if read is not None else None
    return None if lane is None else _optional(node, column, lane)


def _is_moment(kind: str) -> bool:
    return kind.startswith(("timestamp", "local-timestamp"))


def _optional(node: Node, given: pl.Series, lane: Lane | None) -> Lane | None:
    """The lane with nulls where they may be, and no row that fits where they may not."""
    if lane is None:
        return None
    null = given.is_null()
    if not null.any():
        return lane
    if node.null_branch < 0:
        return Lane(lane.column, _and(lane.fits, ~null))
    return lane if lane.fits is None else Lane(lane.column, lane.fits | null)


def _and(one: pl.Series | None, other: pl.Series | None) -> pl.Series | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _lane(column: pl.Series, fits: pl.Series) -> Lane:
    fits = fits.fill_null(False)
    return Lane(column, None if fits.all() else fits)


def _as_it_is(node: Node, column: pl.Series, clock: Clock) -> Lane:
    return Lane(column, None)


def _enum(node: Node, column: pl.Series, clock: Clock) -> Lane:
    fits = column.is_in(list(node.symbols))
    return _lane(column.set(~fits, None), fits)


def _uuid(node: Node, column: pl.Series, clock: Clock) -> Lane:
    return _lane(column, column.str.contains(UUID))


def _boolean_of_text(node: Node, column: pl.Series, clock: Clock) -> Lane:
    known = {"true": True, "false": False, "1": True, "0": False}
    found = column.replace_strict(known, default=None, return_dtype=pl.Boolean)
    return _lane(found, found.is_not_null())


def _whole_of_text(node: Node, column: pl.Series, clock: Clock) -> Lane:
    found = column.cast(polars_type_of(node), strict=False)
    return _lane(found, found.is_not_null())


def _binary_of_text(node: Node, column: pl.Series, clock: Clock) -> Lane:
    found = column.cast(pl.Float64, strict=False)
    lane = _within(node, found)
    zero = (lane.column == 0.0) & ~column.is_in(["0", "0.0"])
    return lane if not zero.any() else _lane(lane.column, ~zero if lane.fits is None else lane.fits & ~zero)


def _within(node: Node, found: pl.Series) -> Lane:
    """Numbers so small that each whole one is exact."""
    return _lane(found.cast(polars_type_of(node)), found.abs() < _exact_below(node))


def _exact_below(node: Node) -> int:
    """The number below which a type has each whole one."""
    return EXACT if node.kind == "double" else 1 << 24


def _whole(node: Node, column: pl.Series, clock: Clock) -> Lane:
    found = column.cast(polars_type_of(node), strict=False)
    return _lane(found, found.is_not_null())


def _whole_of_binary(node: Node, column: pl.Series, clock: Clock) -> Lane:
    fits = (column.floor() == column) & (column.abs() < EXACT)
    found = column.cast(polars_type_of(node), strict=False)
    return _lane(found, fits & found.is_not_null())


def _binary(node: Node, column: pl.Series, clock: Clock) -> Lane:
    if column.dtype.is_integer():
        return _within(node, column.cast(pl.Float64))
    found = column.cast(polars_type_of(node))
    return _lane(found, (found.is_finite() | ~column.is_finite()) & ((found != 0) | (column == 0)))


def _string_of_whole(node: Node, column: pl.Series, clock: Clock) -> Lane:
    return Lane(column.cast(pl.String), None)


def _day(node: Node, column: pl.Series, clock: Clock) -> Lane:
    days = column.to_physical()
    return _lane(column, days.is_between(FIRST_DAY, LAST_DAY))


def _day_of_text(node: Node, column: pl.Series, clock: Clock) -> Lane:
    found = column.str.to_date("%Y-%m-%d", strict=False)
    return _lane(found, column.str.contains(_DATE) & (found >= date.min))


def _moment_of_text(node: Node, column: pl.Series, clock: Clock) -> Lane | None:
    """Times of the shape that the first one has: with a T or a space, in UTC, with an offset, or without zone."""
    if declared(node, clock):
        return None
    first = next((t for t in column[:1000] if t), "")
    between, zone = first[10:11], "Z" if first.endswith("Z") else _OFFSET if first[-6:-5] in ("+", "-") else ""
    local = node.logical.startswith("local")
    if (between, zone) not in _MOMENTS or (zone and local) or (not zone and not local and clock.zone is not None):
        return None
    shape = rf"^\d{{4}}-\d\d-\d\d{between}[0-2]\d:[0-5]\d:[0-5]\d(\.\d{{1,6}})?{zone}$"
    found = column.str.to_datetime(_MOMENTS[between, zone], time_unit="us", strict=False)
    if not local:
        found = found.dt.convert_time_zone("UTC") if zone == _OFFSET else found.dt.replace_time_zone("UTC")
    least = datetime.min if local else datetime.min.replace(tzinfo=UTC)
    fits = column.str.contains(shape) & (found >= least)
    if unit(node) != 1:
        fits &= found.to_physical() % unit(node) == 0
    return _lane(found.cast(polars_type_of(node)), fits)


def declared(node: Node, clock: Clock) -> bool:
    """Whether a format or a unit was declared for a field."""
    return any(name in (node.path, "") for name in (*clock.formats, *clock.units))


def _moment(node: Node, column: pl.Series, clock: Clock) -> Lane | None:
    dtype = column.dtype
    assert isinstance(dtype, pl.Datetime)
    local = node.logical.startswith("local")
    if local != (dtype.time_zone is None) and (local or clock.zone is not None):
        return None
    per_us = {"ns": 1000, "us": 1, "ms": 1}[dtype.time_unit]
    since = column.to_physical()
    fits = since % per_us == 0
    since = since // per_us if per_us > 1 else since
    if dtype.time_unit == "ms":
        fits &= since.abs() < _DAY_US * 4_000  # far enough for every year that fits, and no product overflows
        since = since * 1000
    fits &= (since % unit(node) == 0) & since.is_between(FIRST_DAY * _DAY_US, (LAST_DAY + 1) * _DAY_US - 1)
    return _lane((since // unit(node)).cast(polars_type_of(node)), fits)


def _count(node: Node, column: pl.Series, clock: Clock) -> Lane | None:
    if declared(node, clock):
        return None
    count = column.cast(pl.Int64, strict=False)
    day = _DAY_US // unit(node)
    near = NEAR_1970_US // unit(node)
    fits = count.is_between(FIRST_DAY * day, (LAST_DAY + 1) * day - 1) & ((count >= near) | (count <= -near))
    return _lane(count.cast(polars_type_of(node)), fits)


def _series(own: tuple[type, ...], values: Sequence[Any]) -> pl.Series | None:
    """Values of these types alone, and None, as a column; None: some are too large for one."""
    dtype = {str: pl.String, bool: pl.Boolean, int: pl.Int64, float: pl.Float64}[own[0]]
    try:
        return pl.Series(values, dtype=dtype, strict=len(own) == 1)
    except (OverflowError, TypeError, ValueError, pl.exceptions.PolarsError):
        return None


_Read = Callable[[Node, pl.Series, Clock], Lane | None]
_MOMENT_KINDS: tuple[Literal["timestamp-millis", "timestamp-micros"], ...] = ("timestamp-millis", "timestamp-micros")
_OF_TEXT: dict[str, _Read] = {
    "string": _as_it_is,
    "enum": _enum,
    "uuid": _uuid,
    "boolean": _boolean_of_text,
    "int": _whole_of_text,
    "long": _whole_of_text,
    "float": _binary_of_text,
    "double": _binary_of_text,
    "date": _day_of_text,
    **{f"{local}{kind}": _moment_of_text for local in ("", "local-") for kind in _MOMENT_KINDS},
}
_OWN_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "enum": (str,),
    "uuid": (str,),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (float, int),
    "double": (float, int),
    "date": (str,),
    **{f"{local}{kind}": (str,) for local in ("", "local-") for kind in _MOMENT_KINDS},
}
"""Avro type, or logical type -> the types of Python that JSON has for it."""
