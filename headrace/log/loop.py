"""The exactly-once loop, the one place where processors meet Kafka.

Read a batch, process it partition by partition, write, and at most every ``commit_interval`` send the
input offsets to the transaction and commit. While that is on its way the next batches are processed; what comes of
them is written when it is there, or dropped when it is not. A crash anywhere leaves either all of a step or nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from headrace.errors import HeadraceError, TooManyFailures, TransactionAborted, Unavailable
from headrace.log import faults
from headrace.log.attempt import attempt
from headrace.log.base import Chunk, GroupReader, Log, Output, Position, TopicPartition, Writer, read_range
from headrace.log.call import Call
from headrace.log.processor import IDLE, Figure, Processor, Step
from headrace.log.status import LoopStatus, count

log = logging.getLogger("headrace.loop")

ENDS_S = 1.0
"""Seconds between looks at how far the partitions reach."""
SLOW_S = 3.0
"""Seconds of work on one batch after which no transaction should stay open beside it: it may time out."""


@dataclass(frozen=True)
class LoopConfig:
    """Settings of one loop.

    Attributes:
        group: consumer group, and stem of the transactional id.
        worker: name of this member; unique among live workers. One that comes back under the same name
            ends at once what its predecessor left open.
        commit_interval: seconds between commits, at most.
        batch: records read at a time; None: as many as the processor works best on.
        failure_limit: share of the last records on which user code may fail before the worker stops.
        ahead: batches processed while a commit is on its way, at most. 0: the loop waits for each commit.
    """

    group: str
    worker: str
    commit_interval: float = 0.1
    batch: int | None = None
    failure_limit: float = 0.5
    idle_poll: float = 0.05
    ahead: int = 8

    @property
    def gather(self) -> float:
        """Seconds to gather a batch while a transaction is open: a trickle is then a few batches a commit."""
        return self.commit_interval / 4


DeadLetters = Callable[[Chunk, str], Output]
"""From a one-record chunk and a traceback to its dead letter."""


@dataclass
class _Commit:
    """A commit on its way.

    Attributes:
        positions: what it commits.
        call: the writer's calls.
        began: when, in seconds of the monotonic clock.
        held: what came of the batches processed since.
        batches: how many those are.
    """

    positions: dict[TopicPartition, Position]
    call: Call
    began: float
    held: list[Step] = field(default_factory=list)
    batches: int = 0


class ExactlyOnceLoop:
    """Runs one processor as one member of its group.

    Args:
        log: the cluster, or its twin.
        processor: what to run.
        config: group, worker name and intervals.
        dead_letter: makes the dead letter of a record on which the processor's own code failed.
    """

    def __init__(self, log: Log, processor: Processor, config: LoopConfig, dead_letter: DeadLetters) -> None:
        self._log = log
        self._processor = processor
        self._config = config
        self._dead_letter = dead_letter
        self._batch = config.batch or processor.batch
        self.status = LoopStatus()
        self._stop = threading.Event()
        self._assigned: set[TopicPartition] = set()
        self._to_rebuild = False
        self._waiting: dict[TopicPartition, Chunk] = {}
        self._paused: set[TopicPartition] = set()
        self._slow_until: dict[TopicPartition, int] = {}
        self._read: dict[TopicPartition, int] = {}
        self._positions: dict[TopicPartition, Position] = {}
        self._standing: dict[TopicPartition, Position] = {}
        self._open_since: float | None = None
        self._under_way: _Commit | None = None
        self._recent: deque[tuple[int, int]] = deque(maxlen=200)
        self._backoff = 0.05
        self._ends_due = 0.0
        self._writer: Writer = log.writer(f"{config.group}.{config.worker}", tracks=processor.tracks)
        self._group: GroupReader = log.group(config.group, processor.inputs, config.worker, self)

    def figures(self) -> Iterable[Figure]:
        """What the processor tells of itself."""
        return self._processor.figures()

    def stop(self) -> None:
        """Ask the loop to end: it commits what is done, and returns. Safe from any thread or signal handler."""
        self._stop.set()

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Go round until :meth:`stop` is called, or ``until`` says so.

        Raises:
            Fenced: another worker took this one's name, or the group threw it out for good.
            TooManyFailures: user code failed on too many records.
        """
        try:
            while not self._stop.is_set() and not until():
                self.turn()
            self._end_transaction(leaving=True)
        except BaseException:
            # A step may be half written: leaving the group must not commit it.
            self._give_up()
            raise
        finally:
            self._close()

    def turn(self) -> None:
        """One round: read, process, perhaps commit. Waits a moment where there is nothing to do."""
        try:
            self._commit_if_due()
            chunks = self._polled()
            if self._to_rebuild:
                # What a poll brought beside a rebalance is of the old assignment; it will be read again.
                self._rebuild()
                chunks = []
            if chunks:
                faults.point("after_read")
            self._take_all([new for chunk in chunks if (new := self._unread(chunk))])
            self._perform(self._processor.tick())
            self._commit_if_due()
            self._note_ends()
            self._recovered()
        except TransactionAborted as e:
            self._abort_and_rewind(e)
        except Unavailable as e:
            self._pause(str(e))

    # The group's listener: called from inside poll and close.

    def on_assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._assigned = set(tps)
        self._to_rebuild = True
        log.info("assigned %s", ", ".join(map(str, sorted(tps))) or "nothing")

    def on_revoked(self, tps: Sequence[TopicPartition]) -> None:
        try:
            self._end_transaction()
        finally:
            self._forget()

    def on_lost(self, tps: Sequence[TopicPartition]) -> None:
        log.warning("this worker lost its partitions: what it had open is given up")
        try:
            self._abort()
        finally:
            self._forget()

    # Reading and state.

    def _polled(self) -> list[Chunk]:
        """The next batch. Waits for one, or where a commit is on its way, for that."""
        if self._open_since is None:
            return self._group.poll(self._batch, self._config.idle_poll)
        commit = self._under_way
        if commit is None:
            return self._group.poll(self._batch, self._config.gather)
        chunks = self._group.poll(self._batch, 0)
        commit.batches += bool(chunks)
        if not chunks and commit is self._under_way and commit.call.returned(self._config.gather):
            self._committed()
        return chunks

    def _forget(self) -> None:
        self._assigned = set()
        self._waiting.clear()
        self._paused.clear()
        self._read.clear()
        self._positions.clear()
        self._standing = {}
        self._processor.assigned(())
        self.status.positions, self.status.ends = {}, {}

    def _rebuild(self) -> None:
        """Bring the state to where the last commit left it, then let the partitions flow."""
        tps = sorted(self._assigned)
        self._waiting.clear()
        self._paused.clear()
        self._positions.clear()
        committed = self._group.committed(tps)
        self._processor.assigned(tps)
        for tp in tps:
            at = committed[tp]
            for chunk in read_range(self._log, {tp: (at.rebuild_from, at.offset)}, whole=True):
                if self._attempt(chunk, lambda _: None) < len(chunk):
                    raise Unavailable(f"{self._processor.name} waits while the state of {tp} is rebuilt")
        self._read = {tp: at.offset for tp, at in committed.items()}
        self._group.rewind(self._read)
        self._to_rebuild = False
        self._standing = dict(committed)
        self._group.resume(tps)
        self.status.positions = dict(self._read)
        self.status.ready = True

    def _unread(self, chunk: Chunk) -> Chunk | None:
        """What of a chunk is of this member's partitions and follows what was read before: a client that finds a
        partition's leader anew may bring records again."""
        if chunk.tp not in self._assigned:
            return None
        new = chunk.rising(self._read[chunk.tp])
        if len(new) < len(chunk):
            log.warning("%s: %d records came again, before %d", chunk.tp, len(chunk) - len(new), chunk.next_offset)
        if not len(new):
            return None
        self._read[chunk.tp] = new.next_offset
        return new

    def _take_all(self, chunks: Sequence[Chunk]) -> None:
        """Take what has been waiting, then what is new. When a server is away, the rest waits: the group has
        moved past it and will not bring it again."""
        away: Unavailable | None = None
        waited = [self._waiting.pop(tp) for tp in list(self._waiting)]
        for chunk in [*waited, *chunks]:
            if away or chunk.tp in self._waiting:
                self._hold(chunk)
                continue
            try:
                self._take(chunk)
            except Unavailable as e:
                self._hold(chunk)
                away = e
        flowing = sorted(self._paused - self._waiting.keys())
        if flowing:
            self._group.resume(flowing)
            self._paused.difference_update(flowing)
        if away:
            raise away

    def _take(self, chunk: Chunk) -> None:
        """Process a batch and put its outputs and its position into the transaction."""
        if int(chunk.offsets[0]) < self._slow_until.get(chunk.tp, -1):
            self._commit()
        began = time.monotonic()
        steps: list[Step] = []
        done = self._attempt(chunk, steps.append)
        took = time.monotonic() - began
        if done:
            self.status.batches.observe(done)
            self.status.process_s.observe(took)
        if took > SLOW_S:
            # What was open beside it may be lost. When the batch comes again, nothing will be.
            self._slow_until[chunk.tp] = chunk.next_offset
        for step in steps:
            self._perform(step)
        if done < len(chunk):
            self._hold(chunk.slice(done))
        if done:
            self._advance(chunk, done)

    def _hold(self, rest: Chunk) -> None:
        before = self._waiting.get(rest.tp)
        self._waiting[rest.tp] = rest if before is None else before.followed_by(rest)
        if rest.tp not in self._paused:
            self._group.pause([rest.tp])
            self._paused.add(rest.tp)

    def _advance(self, chunk: Chunk, done: int) -> None:
        self._begin()
        at = int(chunk.offsets[done - 1]) + 1
        self._positions[chunk.tp] = Position(at, at)
        self.status.positions[chunk.tp] = at
        count(self.status.records_in, chunk.tp.topic, done)

    def _attempt(self, chunk: Chunk, perform: Callable[[Step], None]) -> int:
        """Process ``chunk``; gives how many of its records are done with."""

        def went_through(part: Chunk, step: Step) -> None:
            perform(step)
            self._recent.append((len(part), 0))

        def failed(one: Chunk, trace: str) -> None:
            self._fail(one, trace, perform)

        return attempt(self._processor, chunk, went_through, failed)

    def _fail(self, chunk: Chunk, trace: str, perform: Callable[[Step], None]) -> None:
        if self._to_rebuild:
            return  # it was counted and dead-lettered when it was first met
        letter = self._dead_letter(chunk, trace)
        self.status.failures += 1
        self._recent.append((1, 1))
        perform(Step([letter]))
        seen = sum(n for n, _ in self._recent)
        failed = sum(f for _, f in self._recent)
        if failed >= 20 and failed > self._config.failure_limit * seen:
            raise TooManyFailures(
                f"{self._processor.name} failed on {failed} of its last {seen} records, more than the limit of "
                f"{self._config.failure_limit:.0%}; it stops at {chunk.tp} offset {chunk.offsets[0]}. "
                f"Mend the code and start it again: nothing is lost. Last error: {trace.splitlines()[-1]}"
            )

    # Writing and committing.

    def _perform(self, step: Step) -> None:
        if step is IDLE or not step.outputs:
            return
        if self._under_way is not None:
            self._under_way.held.append(step)
            return
        self._begin()
        try:
            self._write(step.outputs, step.tracked)
        except Unavailable as e:
            # The step is half written and the state has moved on: only a rebuild brings both back together.
            raise TransactionAborted(str(e)) from e

    def _write(self, outputs: Sequence[Output], tracked: Callable[[list[list[int]]], list[Output]] | None) -> None:
        if tracked is None:
            for output in outputs:
                self._writer.write(output)
        else:
            offsets = self._writer.write_tracked(outputs)
            faults.point("after_tracked")
            self._write(tracked(offsets), None)
        for output in outputs:
            count(self.status.records_out, output.tp.topic, len(output))
            for code, letters in output.codes.items():
                count(self.status.dead, code, letters)

    def _begin(self) -> None:
        if self._open_since is None:
            self._writer.begin()
            self._open_since = time.monotonic()
            faults.point("after_begin")

    def _commit_if_due(self) -> None:
        commit = self._under_way
        if commit is not None and (commit.batches >= self._config.ahead or commit.call.returned(0)):
            self._committed()
        since = self._open_since
        if self._under_way is None and since is not None and time.monotonic() - since >= self._config.commit_interval:
            self._begin_commit()

    def _end_transaction(self, *, leaving: bool = False) -> None:
        """Commit what is open, or give it up: on leaving, closing the writer aborts it, with no new producer to wait
        for."""
        try:
            self._commit()
        except TransactionAborted as e:
            log.warning("the last transaction is given up: %s", e)
            if leaving:
                self._drop()
            else:
                self._abort()

    def _commit(self) -> None:
        """Commit everything that was processed, and wait until that is done."""
        while self._open_since is not None:
            if self._under_way is None:
                self._begin_commit()
            self._committed()

    def _begin_commit(self) -> None:
        faults.point("after_write")
        positions = {
            tp: Position(at.offset, self._processor.rebuild_from(tp, at.offset)) for tp, at in self._positions.items()
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

        self._under_way = _Commit(positions, Call(calls), time.monotonic())
        if not self._config.ahead:
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
        for step in commit.held:
            self._perform(step)

    def _note_commit(self, commit: _Commit) -> None:
        self._under_way = None
        self._open_since = None
        self._standing |= commit.positions
        self.status.commits += 1
        self.status.commit_s.observe(time.monotonic() - commit.began)

    def _abort(self) -> None:
        """Give up what is open. A commit on its way ends first; it may have gone through."""
        commit = self._under_way
        if commit is not None and commit.call.went_through():
            self._note_commit(commit)
        to_abort = self._open_since is not None
        self._drop()
        if to_abort:
            self._writer.abort()

    def _drop(self) -> None:
        self.status.aborts += self._open_since is not None or bool(self._positions)
        self._under_way = None
        self._open_since = None
        self._positions.clear()

    def _give_up(self) -> None:
        """Abort what is open, on the way out with an error that matters more than this."""
        try:
            self._abort()
        except HeadraceError as e:
            log.warning("the open transaction was not given up, it will time out: %s", e)

    def _abort_and_rewind(self, cause: TransactionAborted) -> None:
        """Give the transaction up; read and rebuild from what is committed."""
        log.warning("transaction given up, reading again from the last commit: %s", cause)
        self._to_rebuild = True
        self._group.pause(sorted(self._assigned))
        self._abort()
        self._pause(str(cause))

    def _pause(self, why: str) -> None:
        if not self.status.paused:
            log.warning("paused, trying again until it answers: %s", why)
        self.status.paused = why
        self._stop.wait(self._backoff)
        self._backoff = min(self._backoff * 2, 2.0)

    def _note_ends(self) -> None:
        now = time.monotonic()
        if now >= self._ends_due:
            self._ends_due = now + ENDS_S
            self.status.ends = self._group.ends()

    def _recovered(self) -> None:
        if self.status.paused:
            log.info("going on: %s has passed", self.status.paused)
        self.status.paused = ""
        self._backoff = 0.05

    def _close(self) -> None:
        self.status.ready = False
        try:
            self._group.close()
        except HeadraceError as e:
            log.warning("left the group without a commit: %s", e)
        self._writer.close()
        self._processor.close()
