"""One partition's rows of one window whose state is Python's own."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import polars as pl

from headrace.declare.aggregations import Aggregation, Lag, Last
from headrace.features.chains import ENDLESS, Ints
from headrace.features.groups import Groups
from headrace.features.kept import Kept, kept_of
from headrace.features.plan import micros

LAST_TIME = 2**63 - 1
LEAST_GONE = 64
"""Entries are let go of so many at a time."""


class _Group:
    """Times and values of a group in the order of time, and the window over them: from tail to before head."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.times: list[int] = []
        self.values: list[Any] = []
        self.head = 0
        self.tail = 0
        self.session = 0
        """Place of the first entry of the session, as of ``latest``."""
        self.latest = ENDLESS


class PythonWindow:
    """The state of the window, a group at a time."""

    def __init__(self, window: Aggregation) -> None:
        self.window = window
        self._within = None if window.within is None else micros(window.within)
        self._offset = micros(window.offset)
        self._gap = None if window.session is None else micros(window.session)
        self._reach = self._offset + (self._within or 0)
        self._groups = Groups(window.by)
        self._states: dict[int, _Group] = {}
        self._new = kept_of(window)
        self._last = window.n if isinstance(window, Lag) else int(isinstance(window, Last))
        """How many entries a window of all time goes on reading."""
        self._hand = 0

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self._groups)

    def take(self, rows: pl.DataFrame, time: Ints, newest: Ints, counts: list[bool], values: list[Any]) -> list[Any]:
        """Take in n rows in the log's order and give what the window holds before each; an exception stands for none.

        Args:
            rows: for their groups.
            time: (n,) microseconds.
            newest: (n,) the partition's newest time up to each row, less the lateness.
            counts: whether each row counts.
            values: what it counts with.
        """
        found: list[Any] = []
        numbers, cuts = self._groups.numbers(rows).tolist(), (newest - self._reach).tolist()
        for number, t, cut, comes, value in zip(numbers, time.tolist(), cuts, counts, values, strict=True):
            group = self._states.get(number)
            if group is None:
                group = self._states[number] = _Group(self._new())
            self._follow(group, t)
            try:
                found.append(group.kept.result(group.values, group.tail, group.head))
            except ArithmeticError as e:
                found.append(e)
            if comes:
                _insert(group, t, value)
            self._let_go(group, cut)
        if self._within is not None and cuts:
            self._sweep(len(cuts), cuts[-1])
        return found

    def _follow(self, group: _Group, t: int) -> None:
        """Move the window to where it belongs at a time."""
        last = t - self._offset
        gone = ENDLESS if self._within is None else last - self._within
        head = bisect_right(group.times, last)
        tail = bisect_right(group.times, gone)
        if self._gap is not None:
            tail = max(tail, self._session(group, t, head, gone))
        # What comes in first, then what goes out: an algebra that cannot go below nothing never has to.
        for place in (*range(tail, min(group.tail, head)), *range(max(group.head, tail), head)):
            group.kept.add(group.values[place], group.times[place])
        for place in (*range(group.tail, min(tail, group.head)), *range(max(head, group.tail), group.head)):
            group.kept.remove(group.values[place], group.times[place])
        group.head, group.tail = head, tail

    def _session(self, group: _Group, t: int, head: int, gone: int) -> int:
        """Place of the first entry that no pause parts from the row at a time."""
        assert self._gap is not None
        times = group.times
        if t < group.latest:
            start, following = head, t
            while start and times[start - 1] > gone and following - times[start - 1] <= self._gap:
                start -= 1
                following = times[start]
        else:
            start = group.session
            for place in range(max(group.head, 1), head):
                if times[place] - times[place - 1] > self._gap:
                    start = place
            if head and t - times[head - 1] > self._gap:
                start = head
        group.session, group.latest = start, t
        return start

    def _let_go(self, group: _Group, cut: int) -> None:
        """Forget the entries that no window of a row to come can hold."""
        if len(group.times) < LEAST_GONE or group.times[LEAST_GONE - 1] > cut:
            return
        count = bisect_right(group.times, cut)
        if self._within is None:
            count = min(count, group.head) - self._last
        if count < LEAST_GONE:
            return
        group.kept.went(group.values, count)
        del group.times[:count]
        del group.values[:count]
        group.head -= count
        group.tail = max(0, group.tail - count)
        group.session = max(0, group.session - count)

    def _sweep(self, steps: int, cut: int) -> None:
        """Look at some groups, and forget those of which nothing counts any more."""
        gone = []
        for _ in range(min(steps, len(self._groups.keys))):
            self._hand = (self._hand + 1) % len(self._groups.keys)
            group = self._states.get(self._hand)
            if group is not None and not (group.times and group.times[-1] > cut):
                gone.append(self._hand)
                del self._states[self._hand]
        self._groups.give_back(gone)


def _insert(group: _Group, time: int, value: Any) -> None:
    place = bisect_right(group.times, time)
    if place < len(group.times):
        group.kept.came_late(place)
        # It may join two sessions for the row that follows, whatever its time.
        group.latest = LAST_TIME
    group.times.insert(place, time)
    group.values.insert(place, value)
