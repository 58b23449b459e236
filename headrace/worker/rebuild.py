"""Bringing the state of a member's partitions to where the last commit left it, a slice at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from headrace.kafka import faults
from headrace.kafka.log import Chunk, Log, Position, Reader, TopicPartition, not_there

SLICE_S = 0.5
"""Seconds of reading and processing, about, after which whoever rebuilds looks at the group again."""
POLL_S = 0.05


class Rebuild:
    """Reads each partition from where its state begins to its committed offset, one after the other.

    Args:
        log: the cluster.
        starts: partition -> where it goes on from.
        ends: partition -> last stable offset.
        take: processes a chunk with the outputs discarded.
        batch: records read at a time.
    """

    def __init__(
        self,
        log: Log,
        starts: Mapping[TopicPartition, Position],
        ends: Mapping[TopicPartition, int],
        take: Callable[[Chunk], None],
        batch: int,
    ) -> None:
        for tp, at in starts.items():
            if ends[tp] < at.offset:
                raise not_there(tp, at.offset, 0, ends[tp])
        self._log = log
        self._take = take
        self._batch = batch
        self._left = {tp: at for tp, at in sorted(starts.items()) if at.rebuild_from < at.offset}
        self._reader: Reader | None = None
        self._done = 0
        self._size = sum(at.offset - at.rebuild_from for at in self._left.values())
        self._reached = 0

    @property
    def done(self) -> bool:
        """Whether every partition's state is there."""
        return not self._left

    @property
    def progress(self) -> tuple[int, int]:
        """Offsets gone through, and how many there are."""
        return self._done + self._reached, self._size

    def go_on(self) -> None:
        """Read and process for about SLICE_S seconds, or to the end.

        Raises:
            Unavailable: a broker is away, or a processor waits for a server.
            RecordsLost: Kafka has dropped some of it meanwhile.
        """
        until = time.monotonic() + SLICE_S
        while self._left:
            tp, at = next(iter(self._left.items()))
            if self._reader is None:
                self._reader = self._log.reader({tp: at.rebuild_from})
            for chunk in self._reader.poll(self._batch, POLL_S):
                inside = int(np.searchsorted(chunk.offsets, at.offset))
                if inside:
                    self._take(chunk.slice(0, inside))
                    faults.point("in_rebuild")
            self._reached = min(self._reader.reached(tp), at.offset) - at.rebuild_from
            if self._reached == at.offset - at.rebuild_from:
                self.close()
                del self._left[tp]
                self._done += self._reached
                self._reached = 0
            if time.monotonic() >= until:
                return

    def close(self) -> None:
        """Let go of the reader."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
