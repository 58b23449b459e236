"""Records held by their ids: the records, and the index that finds them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.codec.column import Octets, Places, Valid
from headrace.state.hashing import Groups
from headrace.state.index import Index
from headrace.state.records import Arrived, Located, Records


class Matches(NamedTuple):
    """Held rows for each of g ids, oldest first.

    Attributes:
        starts: int64 (g + 1,), where those of each id begin.
        numbers: int64 (k,), of the rows.
        flags: uint8 (k,), of the rows.
        located: the rows.
    """

    starts: Places
    numbers: Places
    flags: Octets
    located: Located


class KeyedRecords:
    """Records of one partition that are found by id.

    Attributes:
        records: the records.
        index: what finds them; its flags are the owner's.
    """

    def __init__(self) -> None:
        self.records = Records()
        self.index = Index()

    @property
    def held(self) -> int:
        """Bytes of memory it takes."""
        return self.records.held + self.index.size

    @property
    def end(self) -> int:
        """Number of the next row."""
        return self.records.end

    def add(self, arrived: Arrived, groups: Groups, flags: Octets, linked: Valid) -> None:
        """Append records; those not ``linked`` are held, and not found by id."""
        self.records.add(arrived)
        self.index.add(groups.tags, flags, linked)

    def find(self, groups: Groups, unless: int = 0, wanted: Valid | None = None) -> Matches:
        """The rows of each different id that have none of the flags ``unless``.

        ``wanted``: for which of the different ids, (g,); there are no rows for the others. None: for all.

        Raises:
            StateError: a file cannot be read, or is damaged.
        """
        every = np.ones(len(groups.firsts), dtype=np.bool_)
        asked = every if wanted is None else wanted
        starts, numbers = self.index.candidates(groups.tags[groups.firsts], asked, unless)
        located = self.records.at(numbers)
        which = np.repeat(np.arange(len(groups.firsts)), np.diff(starts))
        right = located.are(groups.ids, groups.firsts[which])
        if not right.all():
            places = np.flatnonzero(right)
            numbers, located = numbers[places], located.at(places)
            starts = np.searchsorted(which[places], np.arange(len(groups.firsts) + 1))
        return Matches(starts, numbers, self.index.flags(numbers), located)

    def drop_before(self, number: int) -> None:
        """Rows before ``number`` are held no more."""
        self.index.first = number
        self.records.drop_before(number)


class Cursor:
    """A place among rows that goes on past those that are old enough.

    Attributes:
        at: number of the row it is at.
    """

    def __init__(self, held: KeyedRecords) -> None:
        self._held = held
        self.at = 0
        self._begin = 0
        self._times: Places = np.empty(0, dtype=np.int64)
        self._offsets: Places = np.empty(0, dtype=np.int64)

    def go_on(self, before: int, past: int = 0) -> None:
        """Pass rows until one whose time is not ``before`` and that has none of the flags ``past``.

        Raises:
            StateError: a file cannot be read, or is damaged.
        """
        while self.at < self._held.end:
            self._look()
            inside = self.at - self._begin
            stays = self._times[inside:] >= before
            if past:
                stays &= self._held.index.flags(slice(self.at, self._begin + len(self._times))) & past == 0
            first = int(np.argmax(stays))
            if stays[first]:
                self.at += first
                return
            self.at += len(stays)

    def offset(self, otherwise: int) -> int:
        """Offset of the row it is at; ``otherwise`` where it is past all of them."""
        if self.at >= self._held.end:
            return otherwise
        self._look()
        return int(self._offsets[self.at - self._begin])

    def _look(self) -> None:
        if not self._begin <= self.at < self._begin + len(self._times):
            rows = self._held.records.fixed(self.at)
            self._begin = self.at
            self._times, self._offsets = rows["time"].astype(np.int64), rows["offset"].astype(np.int64)
