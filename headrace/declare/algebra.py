"""A window of one's own: how values are taken in, and how they are taken away again or merged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import polars as pl

S = TypeVar("S")


class Algebra(ABC, Generic[S]):
    """How a window's values become one, so that it need not be computed from all of them for each row.

    States are values: no method changes what it is given. The order in which values come and go must not show:
    ``remove(add(s, v), v)`` is as good as ``s``, and ``add(add(s, v), w)`` as ``add(add(s, w), v)``. Sums of floats
    break this: sum integers, or fractions.

    Where values cannot be taken away (the longest of texts, say), give :meth:`merge` instead of :meth:`remove`. States
    are then those of stretches of rows in the order of their times, and may be merged however they are bracketed.
    ``headrace check`` tries these laws on events of yours.
    """

    dtype: pl.DataType
    """Type of the results."""

    @abstractmethod
    def zero(self) -> S:
        """The state of no values."""

    @abstractmethod
    def add(self, state: S, value: Any) -> S:
        """The state with one value more."""

    def remove(self, state: S, value: Any) -> S:
        """The state with one value less."""
        raise NotImplementedError

    def merge(self, earlier: S, later: S) -> S:
        """The state of the values of both."""
        raise NotImplementedError

    @abstractmethod
    def result(self, state: S) -> Any:
        """What the window gives; None: null."""

    @property
    def removes(self) -> bool:
        """Whether values can be taken away."""
        return type(self).remove is not Algebra.remove


def breach(algebra: Algebra[Any], values: Sequence[Any]) -> str:
    """How an algebra breaks its laws on some values, in words; empty where it keeps them."""
    state = _of(algebra, values)
    if algebra.removes:
        first, *rest = values
        left = algebra.result(algebra.remove(state, first))
        if repr(left) != repr(algebra.result(_of(algebra, rest))):
            return f"{first!r} taken away from {values!r} leaves {left!r}, not {algebra.result(_of(algebra, rest))!r}"
        turned = algebra.result(_of(algebra, values[::-1]))
        if repr(turned) != repr(algebra.result(state)):
            return f"{values!r} give {algebra.result(state)!r}, and in the other order {turned!r}"
        return ""
    for cut in range(len(values) + 1):
        merged = algebra.result(algebra.merge(_of(algebra, values[:cut]), _of(algebra, values[cut:])))
        if repr(merged) != repr(algebra.result(state)):
            parts = f"{values[:cut]!r} merged with {values[cut:]!r}"
            return f"{parts} give {merged!r}, and one by one {algebra.result(state)!r}"
    return ""


def _of(algebra: Algebra[S], values: Sequence[Any]) -> S:
    state = algebra.zero()
    for value in values:
        state = algebra.add(state, value)
    return state
