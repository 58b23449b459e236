"""What a loop writes and commits: one transaction open at a time, and while its commit is on its way, what comes next.

That is held until the commit has gone through, and dropped when it has not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from headrace.errors import TransactionAborted, Unavailable
from headrace.kafka import faults
from headrace.kafka.background_call import BackgroundCall
from headrace.kafka.log import GroupReader, Output, Position, TopicPartition, Writer
from headrace.worker.processor import IDLE, Processor, Step
from headrace.worker.status import LoopStatus, count


@dataclass
class _Commit:
    """A commit on its way.

    Attributes:
        positions: what it commits.
        call: the writer's calls.
        began: when, in seconds of the monotonic clock.
        held: what came of the batches processed since.
        batches: how many those are.
        since: when the first of them was read.
    """

    positions: dict[TopicPartition, Position]
    call: BackgroundCall
    began: float
    held: list[Step] = field(default_factory=list)
    batches: int = 0
    since: float | None = None


class Transactions:
    """The transactions of one loop, in order.

    Args:
        writer: writes and commits; used by nobody else.
        group: the member whose positions are committed.
        processor: tells what its state needs of each partition.
        status: counts commits, aborts and records written.
        interval: seconds from a batch to the beginning of its commit, at most, unless another is on its way.
        ahead: batches processed while a commit is on its way, at most. 0: each commit is waited for.
    """

    def __init__(
        self, writer: Writer, group: GroupReader, processor: Processor, status: LoopStatus, interval: float, ahead: int
    ) -> None:
        self._writer = writer
        self._group = group
        self._processor = processor
        self._status = status
        self._interval = interval
        self._ahead = ahead
        self._positions: dict[TopicPartition, Position] = {}
        self._standing: dict[TopicPartition, Position] = {}
        self._topic_ids: dict[str, str] = {}
        self._open_since: float | None = None
        self._under_way: _Commit | None = None

    @property
    def open(self) -> bool:
        """Whether there is anything to commit or to abort."""
        return self._open_since is not None

    @property
    def committing(self) -> bool:
        """Whether a commit is on its way."""
        return self._under_way is not None

    def start_at(self, starts: Mapping[TopicPartition, Position]) -> None:
        """Told where the partitions that the member now has go on from."""
        self._positions.clear()
        self._standing = dict(starts)
        self._topic_ids = {tp.topic: at.topic_id for tp, at in starts.items()}

    def perform(self, step: Step) -> None:
        """Write what came of a batch, now or when the commit on its way has gone through.

        A step that asks for offsets waits for that commit: its processor must be told before it is called again,
        or it would give the same step twice.

        Raises:
            TransactionAborted: a step is half written, or the commit on its way has failed.
        """
        if step is IDLE or not step.outputs:
            return
        if step.tracked is not None:
            self._committed()
        if self._under_way is not None:
            self._under_way.held.append(step)
            return
        self._begin()
        try:
            self._write(step.outputs, step.tracked)
        except Unavailable as e:
            # The step is half written and the state has moved on: only a rebuild brings both back together.
            raise TransactionAborted(str(e)) from e

    def advance(self, tp: TopicPartition, at: int) -> None:
        """The records of a partition before ``at`` are done with."""
        self._begin()
        self._positions[tp] = Position(at, at)

    def note_batch(self) -> None:
        """A batch was read."""
        if self._under_way is not None:
            self._under_way.batches += 1
            self._under_way.since = self._under_way.since or time.monotonic()

    def commit_if_due(self) -> None:
        """End the commit on its way when it is there or was run ahead of far enough; begin the next one in its time."""
        commit = self._under_way
        if commit is not None and (commit.batches >= self._ahead or commit.call.returned(0)):
            self._committed()
        since = self._open_since
        if self._under_way is None and since is not None and time.monotonic() - since >= self._interval:
            self._begin_commit()

    def wait(self, seconds: float) -> None:
        """Wait for the commit on its way, not for long."""
        if self._under_way is not None and self._under_way.call.returned(seconds):
            self._committed()

    def commit(self) -> None:
        """Commit everything that was processed, and wait until that is done."""
        while self.open:
            if self._under_way is None:
                self._begin_commit()
            self._committed()

    def abort(self) -> None:
        """Give up what is open. A commit on its way ends first; it may have gone through."""
        commit = self._under_way
        if commit is not None and commit.call.went_through():
            self._note_commit(commit)
        to_abort = self.open
        self.drop()
        if to_abort:
            self._writer.abort()

    def drop(self) -> None:
        """Forget what is open; whoever calls this sees that it is aborted."""
        self._status.aborts += self.open or bool(self._positions)
        self._under_way = None
        self._open_since = None
        self._positions.clear()

    def _begin(self) -> None:
        if not self.open:
            self._writer.begin()
            self._open_since = time.monotonic()
            faults.point("after_begin")

    def _write(self, outputs: Sequence[Output], tracked: Callable[[list[list[int]]], list[Output]] | None) -> None:
        if tracked is None:
            for output in outputs:
                self._writer.write(output)
        else:
            offsets = self._writer.write_and_wait(outputs)
            faults.point("after_tracked")
            self._write(tracked(offsets), None)
        for output in outputs:
            count(self._status.records_out, output.tp.topic, len(output))
            for code, letters in output.codes.items():
                count(self._status.dead, code, letters)

    def _begin_commit(self) -> None:
        faults.point("after_write")
        positions = {
            tp: Position(at.offset, self._processor.rebuild_from(tp, at.offset), self._topic_ids.get(tp.topic, ""))
            for tp, at in self._positions.items()
        }
        self._positions.clear()
        # Where nothing was consumed the standing positions go along, so that a worker the group has thrown
        # out is refused here too.
        sent = positions or dict(self._standing)

        def calls() -> None:
            if sent:
                self._writer.send_offsets(sent, self._group)
            faults.point("after_offsets")
            self._writer.commit()
            faults.point("after_commit")

        self._under_way = _Commit(positions, BackgroundCall(calls), time.monotonic())
        if not self._ahead:
            self._committed()

    def _committed(self) -> None:
        """Wait for the commit on its way, and write what was held back meanwhile."""
        commit = self._under_way
        if commit is None:
            return
        commit.call.returned()
        self._note_commit(commit)
        if self._positions:
            self._begin()
            # What waited for this commit is not to wait a whole interval more.
            self._open_since = commit.since or self._open_since
        for step in commit.held:
            self.perform(step)

    def _note_commit(self, commit: _Commit) -> None:
        self._under_way = None
        self._open_since = None
        self._standing |= commit.positions
        self._status.commits += 1
        self._status.commit_s.observe(time.monotonic() - commit.began)
