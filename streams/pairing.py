"""Pairing by id over two topics that move at their own pace: the rule, and the state it needs.

A left record (a features row, a prediction) and a label of the same id form a pair when

    left.time  >= newest label time at the label - horizon     and
    label.time >= newest left time at the left   - horizon

where "newest ... at" is the largest time in that topic's partition up to and including the record. Both sides
are functions of their own partition, so which pairs exist does not depend on how the two topics interleave.
The first label of an id counts; a later one is a duplicate.

With "floor" the lesser of the two newest times: a label is let go once floor is more than the horizon past it,
and is an orphan if it never found a pair. A left record is kept twice as long, so that a state rebuilt from the
oldest record kept knows of every label still held whether it was paired, and both newest times.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

L = TypeVar("L")


class Held(NamedTuple, Generic[L]):
    """A left record that may still find its label."""

    id: str
    time: int
    watermark: int
    offset: int
    row: L


@dataclass(slots=True)
class HeldLabel:
    """A label that may still find a left record. Times are microseconds of event time."""

    id: str
    time: int
    watermark: int
    offset: int
    value: float
    source: tuple[bytes | None, bytes | None]
    """Key and value of the label's record, for its dead letter."""
    paired: bool = False


@dataclass
class Pairs(Generic[L]):
    """State of one partition: what has come on either side and may still be paired."""

    horizon: int
    """Microseconds."""
    left_watermark: int = -(2**62)
    label_watermark: int = -(2**62)
    _lefts: dict[str, list[Held[L]]] = field(default_factory=dict)
    _left_order: deque[Held[L]] = field(default_factory=deque)
    _labels: dict[str, HeldLabel] = field(default_factory=dict)
    _label_order: deque[HeldLabel] = field(default_factory=deque)

    def add_left(self, id_: str, time: int, offset: int, row: L) -> HeldLabel | None:
        """Take a left record; give the label it pairs with, where that has already come."""
        self.left_watermark = max(self.left_watermark, time)
        left = Held(id_, time, self.left_watermark, offset, row)
        self._lefts.setdefault(id_, []).append(left)
        self._left_order.append(left)
        label = self._labels.get(id_)
        if label is None or not self._match(left, label):
            return None
        label.paired = True
        return label

    def add_label(
        self, id_: str, time: int, offset: int, value: float, source: tuple[bytes | None, bytes | None]
    ) -> list[Held[L]] | None:
        """Take a label; give the left records it pairs with, or None where it is a duplicate."""
        self.label_watermark = max(self.label_watermark, time)
        earlier = self._labels.get(id_)
        if earlier is not None and earlier.time >= self.label_watermark - self.horizon:
            return None
        label = HeldLabel(id_, time, self.label_watermark, offset, value, source)
        self._labels[id_] = label
        self._label_order.append(label)
        found = [left for left in self._lefts.get(id_, []) if self._match(left, label)]
        label.paired = bool(found)
        return found

    def let_go(self) -> list[HeldLabel]:
        """Drop what can no longer be paired; give the labels among it that never were."""
        floor = min(self.left_watermark, self.label_watermark)
        while self._left_order and self._left_order[0].time < floor - 2 * self.horizon:
            left = self._left_order.popleft()
            rest = [other for other in self._lefts[left.id] if other is not left]
            if rest:
                self._lefts[left.id] = rest
            else:
                del self._lefts[left.id]
        orphans = []
        while self._label_order and self._label_order[0].time < floor - self.horizon:
            label = self._label_order.popleft()
            if self._labels.get(label.id) is label:
                del self._labels[label.id]
            if not label.paired:
                orphans.append(label)
        return orphans

    def earliest_left(self, position: int) -> int:
        """Offset from which the left topic must be read again to rebuild this state."""
        return self._left_order[0].offset if self._left_order else position

    def earliest_label(self, position: int) -> int:
        """Offset from which the labels must be read again to rebuild this state."""
        return self._label_order[0].offset if self._label_order else position

    def _match(self, left: Held[L], label: HeldLabel) -> bool:
        return left.time >= label.watermark - self.horizon and label.time >= left.watermark - self.horizon
