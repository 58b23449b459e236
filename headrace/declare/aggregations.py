"""What a window computes: counts, sums, extremes and more, over the rows that came before, within a span of time.

The rows of a window are those that are *earlier in the log*, of the same group, whose event time lies in
``(t - offset - within, t - offset]``, where t is that of the row it is computed for. The row itself does not count.
A row whose value is null or for which ``where`` is not true does not count; null is a group like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import polars as pl

from headrace.declare.algebra import Algebra
from headrace.declare.duration import duration
from headrace.errors import ConfigError

By = str | Sequence[str]
Span = timedelta | str
NONE = timedelta(0)


@dataclass(frozen=True, kw_only=True, init=False, eq=False)
class Aggregation:
    """A window: which rows it holds. Each kind of it says what is computed of them.

    Args:
        value: a column, or an expression of each row alone.
        where: rows for which it is not true do not count; none: all do.
        by: the column or columns that form a group; ``()``: all rows of a partition are one.
        within: how far back the window reaches, a timedelta or written as ``10m``; none: to the first row there is.
        offset: how long before the row the window ends: with ``within="1h", offset="1h"``, the hour before the last.
        session: only the rows since the last pause that was longer than this; none where the row itself comes after
            such a pause. ``within`` then bounds how far back a session may go, and must be given.

    Raises:
        ConfigError: a span is none, or the spans do not go together.
    """

    value: pl.Expr | None
    where: pl.Expr | None
    by: tuple[str, ...]
    within: timedelta | None
    offset: timedelta
    session: timedelta | None

    def __init__(
        self,
        value: str | pl.Expr | None = None,
        *,
        by: By,
        where: pl.Expr | None = None,
        within: Span | None = None,
        offset: Span = NONE,
        session: Span | None = None,
    ) -> None:
        what = type(self).__name__
        put = object.__setattr__
        put(self, "value", pl.col(value) if isinstance(value, str) else value)
        put(self, "where", where)
        put(self, "by", (by,) if isinstance(by, str) else tuple(by))
        put(self, "within", None if within is None else duration(within, f"{what}: within"))
        put(self, "offset", duration(offset, f"{what}: offset") if offset else NONE)
        put(self, "session", None if session is None else duration(session, f"{what}: session"))
        if self.within is not None and self.within <= NONE:
            raise ConfigError(f"{what}: within={self.within} holds no row: give a span longer than 0")
        if self.offset < NONE:
            raise ConfigError(f"{what}: offset={self.offset} would look ahead: give 0 or more")
        if self.session is not None and (self.within is None or self.offset or self.session <= NONE):
            raise ConfigError(
                f"{what}: session={self.session} needs within, as a bound of how far back a session goes, and no offset"
            )

    def dtype(self, value: pl.DataType) -> pl.DataType:
        """Type of the result, from that of the value.

        Raises:
            ConfigError: there is no such window over values of this type.
        """
        raise NotImplementedError

    def refused(self, value: pl.DataType, takes: str) -> ConfigError:
        """The error of a value that this window cannot take."""
        return ConfigError(f"{type(self).__name__} takes {takes}, not {value}: cast it")


class Count(Aggregation):
    """How many rows: Int64, 0 where there are none.

    Args:
        where: rows for which it is not true do not count.
    """

    def __init__(self, where: pl.Expr | None = None, **window: Any) -> None:
        super().__init__(None, where=where, **window)

    def dtype(self, value: pl.DataType) -> pl.DataType:
        return pl.Int64()


class SinceLast(Count):
    """Seconds from the newest row of the window to this one: Float64, null where there is none."""

    def dtype(self, value: pl.DataType) -> pl.DataType:
        return pl.Float64()


class Sum(Aggregation):
    """The sum: Int64 of integers and booleans, Float64 of floats, 0 where there are none.

    It is exact; that of floats is the double next to the exact sum. A row whose integer sum has no place in 64 bits,
    or whose value is no finite number, becomes a dead letter.
    """

    def dtype(self, value: pl.DataType) -> pl.DataType:
        _needs_number(self, value)
        return pl.Float64() if value.is_float() else pl.Int64()


class Mean(Sum):
    """The double next to the exact sum, divided by how many there are: Float64, null where there are none."""

    def dtype(self, value: pl.DataType) -> pl.DataType:
        _needs_number(self, value)
        return pl.Float64()


class Var(Mean):
    """The sample variance (n - 1), from exact sums and rounded once: Float64, null where there are fewer than two."""


class Std(Mean):
    """The square root of :class:`Var`."""


class Min(Aggregation):
    """The least value: of the value's type, null where there are none."""

    def dtype(self, value: pl.DataType) -> pl.DataType:
        if not _in_a_word(value):
            raise self.refused(value, "numbers, booleans, dates and times")
        return value


class Max(Min):
    """The greatest value: of the value's type, null where there are none."""


class First(Aggregation):
    """The value of the oldest row: null where there are none."""

    def dtype(self, value: pl.DataType) -> pl.DataType:
        if not (_in_a_word(value) or _is_name(value)):
            raise self.refused(value, "numbers, booleans, dates, times and strings")
        return value


class Last(First):
    """The value of the newest row: null where there are none."""


class Lag(First):
    """The value of the row that is ``n`` from the end: ``Lag(value, 1)`` is :class:`Last`."""

    n: int

    def __init__(self, value: str | pl.Expr, n: int, **window: Any) -> None:
        super().__init__(value, **window)
        if n < 1:
            raise ConfigError(f"Lag: n={n}: give 1 for the newest row, 2 for the one before it")
        object.__setattr__(self, "n", n)


class Distinct(First):
    """How many different values: Int64.

    Args:
        estimate: by HyperLogLog with 4,096 registers, off by 1.6 percent at one standard deviation. The values are
            kept all the same while they are in the window, so this bounds only what a window of all time keeps.
    """

    estimate: bool

    def __init__(self, value: str | pl.Expr, *, estimate: bool = False, **window: Any) -> None:
        super().__init__(value, **window)
        object.__setattr__(self, "estimate", estimate)

    def dtype(self, value: pl.DataType) -> pl.DataType:
        super().dtype(value)
        return pl.Int64()


class Mode(First):
    """The most frequent value, of several the least: of the value's type, null where there are none."""


class Quantile(Mean):
    """The least value at or below which the share ``q`` of the values lies: Float64, null where there are none.

    It is a value that came, no interpolation: ``Quantile(value, 0.5)`` of two values is the lesser.
    """

    q: float

    def __init__(self, value: str | pl.Expr, q: float, **window: Any) -> None:
        super().__init__(value, **window)
        if not 0 <= q <= 1:
            raise ConfigError(f"Quantile: q={q}: give a share from 0 to 1")
        object.__setattr__(self, "q", q)


class EWMA(Mean):
    """The mean, in which a row counts half as much each ``half_life`` of age: Float64, null where there are none.

    Rows of an age of 64 half-lives count no more, or those out of ``within`` where that is shorter. The weights are
    doubles, the sums of weighted values exact.
    """

    half_life: timedelta
    HALF_LIVES: ClassVar[int] = 64

    def __init__(self, value: str | pl.Expr, *, half_life: Span, within: Span | None = None, **window: Any) -> None:
        half = duration(half_life, "EWMA: half_life")
        if half <= NONE:
            raise ConfigError(f"EWMA: half_life={half}: give a span longer than 0")
        longest = half * self.HALF_LIVES
        bound = longest if within is None else min(longest, duration(within, "EWMA: within"))
        super().__init__(value, within=bound, **window)
        object.__setattr__(self, "half_life", half)


class Aggregate(First):
    """What an algebra of your own makes of the values.

    Args:
        algebra: how values are taken in, and taken away or merged; what it gives is of its ``dtype``.
    """

    algebra: Algebra[Any]

    def __init__(self, value: str | pl.Expr, algebra: Algebra[Any], **window: Any) -> None:
        super().__init__(value, **window)
        object.__setattr__(self, "algebra", algebra)

    def dtype(self, value: pl.DataType) -> pl.DataType:
        return self.algebra.dtype


@dataclass(frozen=True)
class Ratio:
    """One window divided by another: Float64, null where either is, or where the second is 0."""

    of: Aggregation
    to: Aggregation


Windows = Mapping[str, Aggregation | Ratio]


def value_type(window: Aggregation, raw: Mapping[str, pl.DataType]) -> pl.DataType:
    """Type of what a window is computed of, over rows of a schema.

    Raises:
        ConfigError: there is no such column, or it does not fit.
    """
    if missing := [name for name in window.by if name not in raw]:
        raise ConfigError(f"by={missing[0]!r} is no field; there are {', '.join(raw)}")
    for name in window.by:
        if raw[name].is_float() or raw[name].is_nested():
            raise ConfigError(f"by={name!r} is {raw[name]}, of which no two are surely the same: group by another")
    empty = pl.DataFrame(schema=raw)
    try:
        if window.where is not None and empty.select(where=window.where).schema["where"] != pl.Boolean:
            raise ConfigError("where is no condition: give a boolean expression")
        value = pl.Null() if window.value is None else empty.select(value=window.value).schema["value"]
    except pl.exceptions.PolarsError as e:
        raise ConfigError(str(e)) from None
    window.dtype(value)
    return value


def window_types(windows: Windows, raw: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Name of each window -> type of its values, over rows of a schema.

    Raises:
        ConfigError: one cannot be computed over such rows; the message names it.
    """
    found: dict[str, pl.DataType] = {}
    for name, window in windows.items():
        try:
            if name in raw or name == "offset":
                raise ConfigError("a column of the raw rows has this name")
            if isinstance(window, Ratio):
                for part in (window.of, window.to):
                    if not part.dtype(value_type(part, raw)).is_numeric():
                        raise ConfigError(f"{type(part).__name__} gives no number, which a ratio needs")
                found[name] = pl.Float64()
            else:
                found[name] = window.dtype(value_type(window, raw))
        except ConfigError as e:
            raise ConfigError(f"window {name!r}: {e}") from None
    return found


def reach_of(windows: Windows) -> timedelta:
    """How far back the windows look at most, those of all time aside."""
    single = [w for window in windows.values() for w in _parts(window)]
    return max((w.offset + (w.within or NONE) for w in single), default=NONE)


def endless(windows: Windows) -> bool:
    """Whether one of the windows is of all time."""
    return any(w.within is None for window in windows.values() for w in _parts(window))


def _parts(window: Aggregation | Ratio) -> tuple[Aggregation, ...]:
    return (window.of, window.to) if isinstance(window, Ratio) else (window,)


def _needs_number(window: Aggregation, value: pl.DataType) -> None:
    if not (value.is_float() or (_in_a_word(value) and (value.is_integer() or value == pl.Boolean))):
        raise window.refused(value, "integers of up to 64 bits with a sign, floats and booleans")


def _in_a_word(value: pl.DataType) -> bool:
    if value.is_integer():
        return value not in (pl.UInt64, pl.Int128)
    return value.is_float() or value == pl.Boolean or value.is_temporal()


def _is_name(value: pl.DataType) -> bool:
    return value in (pl.String, pl.Binary, pl.Enum, pl.Categorical)
