"""Windows whose state is Python's own: quantiles, modes, distinct values, decaying means, algebras of users.

They follow their rows as those that compiled code moves, a microsecond or a few each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction
from typing import Any

from sortedcontainers import SortedList  # type: ignore[import-untyped]

from headrace.declare.aggregations import EWMA, Aggregate, Aggregation, Distinct, First, Lag, Mode, Quantile
from headrace.declare.algebra import Algebra
from headrace.features.decay import Scaled, weight_of
from headrace.features.estimate import Registers


class Kept:
    """The state of one window of one group. What it does not need of these, it leaves as it is."""

    def add(self, value: Any, time: int) -> None:
        """A value came into the window."""

    def remove(self, value: Any, time: int) -> None:
        """A value went out of it."""

    def came_late(self, place: int) -> None:
        """The group's values have a new one at a place that is not the last; those behind it moved on."""

    def went(self, values: list[Any], count: int) -> None:
        """So many of the group's first values are let go of."""

    def result(self, values: list[Any], tail: int, head: int) -> Any:
        """What the window gives: it is over ``values[tail:head]``."""
        raise NotImplementedError


class _Oldest(Kept):
    def __init__(self, endless: bool) -> None:
        self._endless = endless
        self._first: list[Any] = []

    def went(self, values: list[Any], count: int) -> None:
        if self._endless and not self._first:
            self._first = values[:1]

    def result(self, values: list[Any], tail: int, head: int) -> Any:
        return self._first[0] if self._first else values[tail] if tail < head else None


class _Nth(Kept):
    def __init__(self, n: int) -> None:
        self._n = n

    def result(self, values: list[Any], tail: int, head: int) -> Any:
        return values[head - self._n] if head - self._n >= tail else None


class _Distinct(Kept):
    def __init__(self) -> None:
        self._counts: Counter[Any] = Counter()

    def add(self, value: Any, time: int) -> None:
        self._counts[value] += 1

    def remove(self, value: Any, time: int) -> None:
        left = self._counts[value] - 1
        if left:
            self._counts[value] = left
        else:
            del self._counts[value]

    def result(self, values: list[Any], tail: int, head: int) -> int:
        return len(self._counts)


class _Mode(Kept):
    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}
        self._order = SortedList()
        """(-count, value): the first is the most frequent, and the least of several."""

    def add(self, value: Any, time: int) -> None:
        self._change(value, 1)

    def remove(self, value: Any, time: int) -> None:
        self._change(value, -1)

    def _change(self, value: Any, by: int) -> None:
        count = self._counts.pop(value, 0)
        if count:
            self._order.remove((-count, value))
        if count + by:
            self._counts[value] = count + by
            self._order.add((-count - by, value))

    def result(self, values: list[Any], tail: int, head: int) -> Any:
        return self._order[0][1] if self._order else None


class _Quantile(Kept):
    def __init__(self, q: float) -> None:
        # As written: 0.1 of ten values is one, though the double is a little more than a tenth.
        self._q = Fraction(str(q))
        self._sorted = SortedList()

    def add(self, value: Any, time: int) -> None:
        self._sorted.add(value)

    def remove(self, value: Any, time: int) -> None:
        self._sorted.remove(value)

    def result(self, values: list[Any], tail: int, head: int) -> float | None:
        count = len(self._sorted)
        if not count:
            return None
        rank = -(-self._q.numerator * count // self._q.denominator)
        return float(self._sorted[max(rank, 1) - 1])


class _Decaying(Kept):
    def __init__(self, half_life: timedelta) -> None:
        self._half_life = half_life // timedelta(microseconds=1)
        self._weighted, self._weights = Scaled(), Scaled()

    def add(self, value: Any, time: int) -> None:
        self._change(value, time, 1)

    def remove(self, value: Any, time: int) -> None:
        self._change(value, time, -1)

    def _change(self, value: Any, time: int, sign: int) -> None:
        weight, exponent = weight_of(time, self._half_life)
        top, bottom = value.as_integer_ratio()
        # Of a double, the bottom is a power of two.
        self._weighted.add(sign * weight * top, exponent - bottom.bit_length() + 1)
        self._weights.add(sign * weight, exponent)

    def result(self, values: list[Any], tail: int, head: int) -> float | None:
        return self._weighted.over(self._weights) if tail < head else None


class _Estimated(Kept):
    def __init__(self) -> None:
        self._registers = Registers()

    def add(self, value: Any, time: int) -> None:
        self._registers.add(value)

    def remove(self, value: Any, time: int) -> None:
        self._registers.remove(value)

    def result(self, values: list[Any], tail: int, head: int) -> int:
        return self._registers.estimate()


class _Removing(Kept):
    """An algebra that takes values away."""

    def __init__(self, algebra: Algebra[Any]) -> None:
        self._algebra = algebra
        self._state = algebra.zero()

    def add(self, value: Any, time: int) -> None:
        self._state = self._algebra.add(self._state, value)

    def remove(self, value: Any, time: int) -> None:
        self._state = self._algebra.remove(self._state, value)

    def result(self, values: list[Any], tail: int, head: int) -> Any:
        return self._algebra.result(self._state)


class _Merging(Kept):
    """An algebra that merges: states of stretches of 64 values, and of 64 such, are kept."""

    FAN = 64

    def __init__(self, algebra: Algebra[Any], endless: bool) -> None:
        self._algebra = algebra
        self._endless = endless
        self._stretches: list[dict[int, Any]] = [{}, {}]
        self._base = algebra.zero()
        self._gone = 0
        """How many values were let go of: stretches are numbered from the first value there ever was."""

    def came_late(self, place: int) -> None:
        for level, known in enumerate(self._stretches, start=1):
            first = (self._gone + place) // self.FAN**level
            for number in [n for n in known if n >= first]:
                del known[number]

    def went(self, values: list[Any], count: int) -> None:
        if self._endless:
            for value in values[:count]:
                self._base = self._algebra.add(self._base, value)
        self._gone += count
        for level, known in enumerate(self._stretches, start=1):
            for number in [n for n in known if n * self.FAN**level < self._gone]:
                del known[number]

    def result(self, values: list[Any], tail: int, head: int) -> Any:
        return self._algebra.result(self._over(values, self._base, tail + self._gone, head + self._gone, 2))

    def _over(self, values: list[Any], state: Any, start: int, stop: int, level: int) -> Any:
        """Merge the values from ``start`` to before ``stop``, counted from the first there ever was, to a state."""
        if level == 0:
            for place in range(start, stop):
                state = self._algebra.add(state, values[place - self._gone])
            return state
        size = self.FAN**level
        first, last = -(-start // size), stop // size
        if first >= last:
            return self._over(values, state, start, stop, level - 1)
        state = self._over(values, state, start, first * size, level - 1)
        for number in range(first, last):
            known = self._stretches[level - 1]
            if number not in known:
                known[number] = self._over(values, self._algebra.zero(), number * size, (number + 1) * size, level - 1)
            state = self._algebra.merge(state, known[number])
        return self._over(values, state, last * size, stop, level - 1)


def kept_of(window: Aggregation) -> Callable[[], Kept]:
    """What makes the state of a window for a new group."""
    endless = window.within is None
    if isinstance(window, Quantile):
        q = window.q
        return lambda: _Quantile(q)
    if isinstance(window, EWMA):
        half_life = window.half_life
        return lambda: _Decaying(half_life)
    if isinstance(window, Aggregate):
        algebra = window.algebra
        return lambda: _Removing(algebra) if algebra.removes else _Merging(algebra, endless)
    if isinstance(window, Mode):
        return _Mode
    if isinstance(window, Distinct):
        return _Estimated if window.estimate else _Distinct
    if type(window) is First:
        return lambda: _Oldest(endless)
    n = window.n if isinstance(window, Lag) else 1
    return lambda: _Nth(n)
