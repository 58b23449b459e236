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

A batch is decided at once. Records that are kept for a rebuild alone match nothing any more, whatever comes, so that it
does not matter whether the index still finds them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.codec.column import Places, Valid
from headrace.state.hashing import Groups, grouped
from headrace.state.keyed import Cursor, KeyedRecords, Matches
from headrace.state.records import Arrived, Located
from headrace.streams.join.matching import NEVER, duplicates, first_labels, lefts_of
from headrace.topics.retention import LABELS_KEPT, LEFTS_KEPT

EXAMPLES, OUTCOMES = 0, 1
"""What is made: of features, or of predictions, and labels."""
PAIRED, DUPLICATE, PASSED = 1, 2, 4
"""Flags of held records: it has its pair; it is a duplicate; a duplicate that no later label is held against."""
_BEGINNING = -(2**62)


class Early(NamedTuple):
    """Left records whose labels had come before them: the place of each in its batch, and the labels, (p,)."""

    places: Places
    labels: Located


class Late(NamedTuple):
    """Labels that found left records: the place of the label of each pair in its batch, and the left records, (p,)."""

    places: Places
    lefts: Located


class Side:
    """Left records of one kind, with what of the labels belongs to them alone."""

    def __init__(self, labels: KeyedRecords) -> None:
        self.held = KeyedRecords()
        self.watermark = _BEGINNING
        self.first = Cursor(self.held)
        self.first_label = Cursor(labels)


class Pairs:
    """State of one partition: what has come and may still be paired.

    Args:
        horizon: the label horizon in microseconds.
    """

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon
        self._labels = KeyedRecords()
        self._label_watermark = _BEGINNING
        self._sides = (Side(self._labels), Side(self._labels))
        self._undecided = Cursor(self._labels)

    @property
    def stores(self) -> tuple[KeyedRecords, ...]:
        """Everything that is held."""
        return (self._labels, *(side.held for side in self._sides))

    def add_lefts(self, kind: int, arrived: Arrived) -> Early:
        """Take left records; give those that pair with a label that has already come. Watermarks are filled in here.

        Raises:
            StateError: what is held on disk cannot be read.
        """
        side, groups = self._sides[kind], grouped(arrived.ids)
        arrived, side.watermark = _marked(arrived, side.watermark)
        labels = self._labels.find(groups, unless=DUPLICATE)
        found = first_labels(
            groups.group,
            arrived.times,
            arrived.watermarks,
            labels.starts,
            labels.located.times,
            labels.located.watermarks,
            self._horizon,
        )
        places = np.flatnonzero(found >= 0)
        flags = np.where(found >= 0, PAIRED, 0).astype(np.uint8)
        side.held.add(arrived, groups, flags, np.ones(len(flags), dtype=np.bool_))
        if kind == EXAMPLES:
            self._labels.index.mark(labels.numbers[found[places]], PAIRED)
        return Early(places, labels.located.at(found[places]))

    def add_labels(self, arrived: Arrived) -> tuple[Valid, tuple[Late, Late]]:
        """Take labels; say which are duplicates, bool (n,), and give the pairs of the others, of either kind.

        Raises:
            StateError: what is held on disk cannot be read.
        """
        groups = grouped(arrived.ids)
        arrived, self._label_watermark = _marked(arrived, self._label_watermark)
        known = self._labels.find(groups, unless=PASSED)
        repeats, carries, passed = duplicates(
            groups.group, arrived.times, arrived.watermarks, _newest(known), self._horizon
        )
        examples, outcomes = (self._take(kind, arrived, groups, repeats) for kind in (EXAMPLES, OUTCOMES))
        flags = np.where(repeats, DUPLICATE, 0).astype(np.uint8)
        flags[examples.places] |= PAIRED
        needless = np.repeat(passed, np.diff(known.starts)) & (known.flags & DUPLICATE != 0)
        self._labels.index.mark(known.numbers[needless], PASSED)
        self._labels.add(arrived, groups, flags, ~repeats | carries)
        return repeats, (examples, outcomes)

    def let_go(self) -> Located:
        """Drop what is no longer needed; give the labels that can no longer be part of an example and never were.

        Raises:
            StateError: what is held on disk cannot be read.
        """
        before, labels = self._undecided.at, self._labels
        self._undecided.go_on(self._floor(EXAMPLES) - self._horizon, past=DUPLICATE)
        decided = slice(before, self._undecided.at)
        alone = labels.index.flags(decided) & (PAIRED | DUPLICATE) == 0
        orphans = labels.records.at(before + np.flatnonzero(alone))
        for kind, side in enumerate(self._sides):
            side.first.go_on(self._floor(kind) - LEFTS_KEPT * self._horizon)
            side.first_label.go_on(self._floor(kind) - LABELS_KEPT * self._horizon)
            side.held.drop_before(side.first.at)
        labels.drop_before(min(side.first_label.at for side in self._sides))
        return orphans

    def earliest_left(self, kind: int, position: int) -> int:
        """Offset from which the left topic must be read again to rebuild this state."""
        return self._sides[kind].first.offset(position)

    def earliest_label(self, position: int) -> int:
        """Offset from which the labels must be read again to rebuild this state."""
        return min(side.first_label.offset(position) for side in self._sides)

    def _floor(self, kind: int) -> int:
        return min(self._sides[kind].watermark, self._label_watermark)

    def _take(self, kind: int, arrived: Arrived, groups: Groups, repeats: Valid) -> Late:
        held = self._sides[kind].held
        wanted = np.zeros(len(groups.firsts), dtype=np.bool_)
        wanted[groups.group[~repeats]] = True
        lefts = held.find(groups, unless=PAIRED, wanted=wanted)
        places, found = lefts_of(
            groups.group,
            arrived.times,
            arrived.watermarks,
            repeats,
            lefts.starts,
            lefts.located.times,
            lefts.located.watermarks,
            np.zeros(len(lefts.numbers), dtype=np.bool_),
            self._horizon,
        )
        held.index.mark(lefts.numbers[found], PAIRED)
        return Late(places, lefts.located.at(found))


def _marked(arrived: Arrived, watermark: int) -> tuple[Arrived, int]:
    """Records with their watermarks, and that of the last."""
    marks = np.maximum(np.maximum.accumulate(arrived.times), watermark)
    return arrived._replace(watermarks=marks), int(marks[-1]) if len(marks) else watermark


def _newest(known: Matches) -> Places:
    """The newest time of each id's labels, (g,); NEVER where there is none."""
    newest = np.full(len(known.starts) - 1, NEVER, dtype=np.int64)
    some = np.flatnonzero(np.diff(known.starts))
    if len(some):
        newest[some] = np.maximum.reduceat(known.located.times, known.starts[some])
    return newest
