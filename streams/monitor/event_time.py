"""How far event time has come: the newest event of each partition, and the oldest of these over a topic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NEVER = -(2**62)
"""Microseconds: before any event."""
Times = np.ndarray[tuple[int], np.dtype[np.int64]]


class Newest(NamedTuple):
    """The newest event time of a partition in microseconds, and the offset of the first record that has it."""

    time: int
    offset: int


class EventTime:
    """The newest event of every partition that holds records, by topic (its short name) and partition.

    A partition that is expected to hold records, and of which none has been read, holds its topic back.
    """

    def __init__(self) -> None:
        self._newest: dict[str, dict[int, Newest]] = {}

    def expect(self, topic: str, partition: int) -> None:
        """The partition holds records, or is about to."""
        self._newest.setdefault(topic, {}).setdefault(partition, Newest(NEVER, -1))

    def advance(self, topic: str, partition: int, times: Times, offsets: Times) -> None:
        """Records of these event times were read."""
        if not len(times):
            return
        self.expect(topic, partition)
        place = int(times.argmax())
        if int(times[place]) > self._newest[topic][partition].time:
            self._newest[topic][partition] = Newest(int(times[place]), int(offsets[place]))

    def passed(self, topic: str) -> int:
        """Event time that every partition has reached, microseconds."""
        return min((n.time for n in self._newest.get(topic, {}).values()), default=NEVER)

    def partitions(self, topic: str) -> set[int]:
        """Partitions that hold records, or are expected to."""
        return set(self._newest.get(topic, ()))

    def of(self, topic: str, partition: int) -> int | None:
        """The partition's newest event time; None where it holds no records as far as is known."""
        newest = self._newest.get(topic, {}).get(partition)
        return None if newest is None else newest.time

    def earliest(self, topic: str, partition: int, position: int) -> int:
        """Offset from which the partition must be read again to know its newest event."""
        newest = self._newest.get(topic, {}).get(partition)
        return min(newest.offset, position) if newest is not None and newest.offset >= 0 else position
