"""Pairing by id over two topics that move at their own pace: the rule, and the state it needs.

A left record (a features row, a prediction) and a label of the same id match when

    left.time  >= newest label time at the label - horizon     and
    label.time >= newest left time at the left   - horizon

where "newest ... at" is the largest time in that topic's partition up to and including the record. A label is a
duplicate where an earlier label record of its id has time >= newest label time at it - horizon. A left record pairs
with the first label that matches it and is no duplicate. All of this is a function of each partition alone, so which
pairs exist does not depend on how the two topics interleave.

With "floor" the lesser of the two newest times: a label is an orphan if it has no pair once floor is more than the
horizon past it. Records are kept longer than they may pair, so that a state rebuilt from the oldest one kept is the
state that was: a label not yet decided pairs with left records of up to two horizons before floor; what these were
taken by reaches a third back, and whether that was a duplicate a fourth.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from headrace.topics.retention import LABELS_KEPT, LEFTS_KEPT

L = TypeVar("L")


@dataclass(slots=True, eq=False)
class Held(Generic[L]):
    """A left record that may still find its label. Times are microseconds of event time."""

    id: str
    time: int
    watermark: int
    offset: int
    row: L
    paired: bool = False


@dataclass(slots=True, eq=False)
class HeldLabel:
    """A label that may still find a left record."""

    id: str
    time: int
    watermark: int
    offset: int
    value: float
    source: tuple[bytes | None, bytes | None]
    """Key and value of the label's record, for its dead letter."""
    duplicate: bool = False
    paired: bool = False


@dataclass
class Pairs(Generic[L]):
    """State of one partition: what has come on either side and may still be paired."""

    horizon: int
    """Microseconds."""
    left_watermark: int = -(2**62)
    label_watermark: int = -(2**62)
    _lefts: dict[str, deque[Held[L]]] = field(default_factory=dict)
    _left_order: deque[Held[L]] = field(default_factory=deque)
    _labels: dict[str, deque[HeldLabel]] = field(default_factory=dict)
    _label_order: deque[HeldLabel] = field(default_factory=deque)
    _undecided: deque[HeldLabel] = field(default_factory=deque)

    def add_left(self, id_: str, time: int, offset: int, row: L) -> HeldLabel | None:
        """Take a left record; give the label it pairs with, where that has already come."""
        self.left_watermark = max(self.left_watermark, time)
        left = Held(id_, time, self.left_watermark, offset, row)
        self._lefts.setdefault(id_, deque()).append(left)
        self._left_order.append(left)
        for label in self._labels.get(id_, ()):
            if not label.duplicate and self._match(left, label):
                left.paired = label.paired = True
                return label
        return None

    def add_label(
        self, id_: str, time: int, offset: int, value: float, source: tuple[bytes | None, bytes | None]
    ) -> list[Held[L]] | None:
        """Take a label; give the left records it pairs with, or None where it is a duplicate."""
        self.label_watermark = max(self.label_watermark, time)
        label = HeldLabel(id_, time, self.label_watermark, offset, value, source)
        known = self._labels.setdefault(id_, deque())
        label.duplicate = any(earlier.time >= self.label_watermark - self.horizon for earlier in known)
        known.append(label)
        self._label_order.append(label)
        if label.duplicate:
            return None
        self._undecided.append(label)
        found = [left for left in self._lefts.get(id_, ()) if not left.paired and self._match(left, label)]
        for left in found:
            left.paired = label.paired = True
        return found

    def let_go(self) -> list[HeldLabel]:
        """Drop what is no longer needed; give the labels that can no longer be paired and never were."""
        floor = min(self.left_watermark, self.label_watermark)
        while self._left_order and self._left_order[0].time < floor - LEFTS_KEPT * self.horizon:
            _drop_first(self._lefts, self._left_order.popleft().id)
        while self._label_order and self._label_order[0].time < floor - LABELS_KEPT * self.horizon:
            _drop_first(self._labels, self._label_order.popleft().id)
        decided = []
        while self._undecided and self._undecided[0].time < floor - self.horizon:
            decided.append(self._undecided.popleft())
        return [label for label in decided if not label.paired]

    def earliest_left(self, position: int) -> int:
        """Offset from which the left topic must be read again to rebuild this state."""
        return self._left_order[0].offset if self._left_order else position

    def earliest_label(self, position: int) -> int:
        """Offset from which the labels must be read again to rebuild this state."""
        return self._label_order[0].offset if self._label_order else position

    def _match(self, left: Held[L], label: HeldLabel) -> bool:
        return left.time >= label.watermark - self.horizon and label.time >= left.watermark - self.horizon


K = TypeVar("K")


def _drop_first(held: dict[str, deque[K]], id_: str) -> None:
    """Drop the oldest record of an id: both it and the order it is dropped in are those of the log."""
    held[id_].popleft()
    if not held[id_]:
        del held[id_]
