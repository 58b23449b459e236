"""The exactly-once loop, the one place where processors meet Kafka.

Read a batch, process it partition by partition, write, and at most every ``commit_interval`` send the
input offsets to the transaction and commit. While that is on its way the next batches are processed; what comes of
them is written when it is there, or dropped when it is not. A crash anywhere leaves either all of a step or nothing.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import (
    HeadraceError,
    OffsetGone,
    TooManyFailures,
    TransactionAborted,
    Unavailable,
)
from headrace.kafka import faults
from headrace.kafka.log import Chunk, GroupReader, Log, Output, TopicPartition, Writer
from headrace.worker.bisecting import process_bisecting
from headrace.worker.footing import Accepted, Footing
from headrace.worker.hangs import Hangs
from headrace.worker.processor import Figure, Processor, Step
from headrace.worker.rebuild import Rebuild
from headrace.worker.status import LoopStatus, Waiting, count, dead_in
from headrace.worker.transactions import Transactions

log = logging.getLogger("headrace.loop")

CALM_S = 5.0
"""Seconds without anything to commit after which an aborted transaction counts as got over."""
ENDS_S = 1.0
"""Seconds between looks at how far the partitions reach."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 5.0
"""Seconds to wait before the first try again, and at most: each wait is twice the one before until a commit goes
through."""
SLOW_S = 3.0
"""Seconds of work on one batch after which no transaction should stay open beside it: it may time out."""


@dataclass(frozen=True)
class LoopConfig:
    """Settings of one loop.

    Attributes:
        group: consumer group, and stem of the transactional id.
        worker: name of this member; unique among live workers. One that comes back under the same name
            ends at once what its predecessor left open.
        commit_interval: seconds from a batch to the beginning of its commit, at most, unless another is on its way.
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


class ExactlyOnceLoop:
    """Runs one processor as one member of its group.

    Args:
        log: the cluster, or its twin.
        processor: what to run.
        config: group, worker name and intervals.
        dead_letter: makes the dead letter of a record on which the processor's own code failed.
        accepted: looks up which losses have been accepted; asked where something is missing.
        notes: folder in which this host's workers note what they have in hand; None: they do not.
    """

    def __init__(
        self,
        log: Log,
        processor: Processor,
        config: LoopConfig,
        dead_letter: DeadLetters,
        accepted: Accepted = tuple,
        notes: Path | None = None,
    ) -> None:
        self._log = log
        self._processor = processor
        self._config = config
        self._dead_letter = dead_letter
        self._batch = config.batch or processor.batch
        self.status = LoopStatus()
        self._stop = False
        self._assigned: set[TopicPartition] = set()
        self._to_rebuild = False
        self._rebuilding: Rebuild | None = None
        self._waiting: dict[TopicPartition, Chunk] = {}
        self._paused: set[TopicPartition] = set()
        self._slow_until: dict[TopicPartition, int] = {}
        self._read: dict[TopicPartition, int] = {}
        self._fresh: list[TopicPartition] = []
        self._recent: deque[tuple[int, int]] = deque(maxlen=200)
        self._backoff = FIRST_PAUSE_S
        self._aborted_at: tuple[float, int] | None = None
        self._ends_due = 0.0
        self._hangs = Hangs(notes, config.group)
        self._footing = Footing(log, processor.name, processor.inputs, accepted)
        self._writer: Writer = log.writer(f"{config.group}.{config.worker}", tracks=processor.tracks)
        self._group: GroupReader = log.group(config.group, processor.inputs, config.worker, self, timed=processor.timed)
        self._transactions = Transactions(
            self._writer, self._group, processor, self.status, config.commit_interval, config.ahead
        )

    @property
    def inputs(self) -> Sequence[str]:
        """The topics that the processor reads as a group."""
        return self._processor.inputs

    def figures(self) -> Iterable[Figure]:
        """What the processor tells of itself."""
        return self._processor.figures()

    def stop(self) -> None:
        """Ask the loop to end: it commits what is done, and returns. Safe from any thread or signal handler."""
        self._stop = True  # no lock: a signal handler may run while another holds it

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Go round until :meth:`stop` is called, or ``until`` says so.

        Raises:
            Fenced: another worker took this one's name, or the group threw it out for good.
            TooManyFailures: user code failed on too many records.
            RecordsLost: Kafka has dropped records that it has not read, or that its state is rebuilt from.
            TopicReplaced: a topic it reads was deleted and made again.
        """
        try:
            while not self._stop and not until():
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
        self.status.turned = time.monotonic()
        try:
            self._transactions.commit_if_due()
            chunks = self._polled()
            if self._to_rebuild:
                # What a poll brought beside a rebalance is of the old assignment; it will be read again.
                self._rebuild()
                if self._to_rebuild:
                    return
                chunks = []
            if chunks:
                faults.point("after_read")
            self._take_all([new for chunk in chunks if (new := self._unread(chunk))])
            self._transactions.perform(self._processor.tick())
            self._transactions.commit_if_due()
            self._note_ends()
            self._footing.look()
            self._recovered()
        except TransactionAborted as e:
            self._abort_and_rewind(e)
        except OffsetGone as e:
            log.warning("reading stops: %s", e)
            self._end_transaction()
            self._begin_rebuild()
        except Unavailable as e:
            self._pause(str(e))

    # The group's listener: called from inside poll and close.

    def on_assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._assigned = set(tps)
        self._begin_rebuild()
        log.info("assigned %s", ", ".join(map(str, sorted(tps))) or "nothing")

    def on_revoked(self, tps: Sequence[TopicPartition]) -> None:
        try:
            self._end_transaction()
        finally:
            self._forget()

    def on_lost(self, tps: Sequence[TopicPartition]) -> None:
        log.warning("this worker lost its partitions: what it had open is given up")
        try:
            self._transactions.abort()
        finally:
            self._forget()

    # Reading and state.

    def _polled(self) -> list[Chunk]:
        """The next batch. Waits for one, or where a commit is on its way, for that."""
        if not self._transactions.open:
            return self._group.poll(self._batch, self._config.idle_poll)
        if not self._transactions.committing:
            return self._group.poll(self._batch, self._config.gather)
        chunks = self._group.poll(self._batch, 0)
        if chunks:
            self._transactions.note_batch()
        else:
            self._transactions.wait(self._config.gather)
        return chunks

    def _forget(self) -> None:
        self._assigned = set()
        self._waiting.clear()
        self.status.waiting.clear()
        self._paused.clear()
        self._read.clear()
        self._transactions.start_at({})
        self._processor.assigned(())
        self._end_rebuild()
        self.status.ready = False
        self.status.positions, self.status.ends = {}, {}

    def _begin_rebuild(self) -> None:
        """From the next turn on, until the state is where the last commit left it, nothing flows."""
        self._to_rebuild = True
        self._end_rebuild()
        if self._assigned:
            self._group.pause(sorted(self._assigned))

    def _end_rebuild(self) -> None:
        if self._rebuilding is not None:
            self._rebuilding.close()
        self._rebuilding = None
        self.status.rebuilding = None

    def _rebuild(self) -> None:
        """Bring the state nearer to where the last commit left it; once it is there, let the partitions flow.

        A slice a turn: between them the group is polled, so that a long rebuild neither costs the partitions nor
        keeps the worker from ending.
        """
        try:
            if self._rebuilding is None:
                self._rebuilding = self._begun_rebuild()
            self._rebuilding.go_on()
        except BaseException:
            self._end_rebuild()
            raise
        if not self._rebuilding.done:
            self.status.rebuilding = self._rebuilding.progress
            return
        self._end_rebuild()
        self._group.rewind(self._read)
        self._to_rebuild = False
        # In writing from the start: were nothing committed, records dropped before the first batch were missed in
        # silence.
        for tp in self._fresh:
            self._transactions.advance(tp, self._read[tp])
        self._group.resume(sorted(self._read))
        self.status.positions = dict(self._read)
        self.status.ready = True

    def _begun_rebuild(self) -> Rebuild:
        """Look where the partitions go on, and whether all that this needs is there."""
        tps = sorted(self._assigned)
        self._waiting.clear()
        self.status.waiting.clear()
        self._paused.clear()
        self.status.ready = False
        starts = self._footing.starts(tps, self._group.committed(tps), self._read)
        self._processor.assigned(tps)
        self._read = {tp: at.offset for tp, at in starts.positions.items()}
        self._fresh = starts.fresh
        self._transactions.start_at(starts.positions)
        return Rebuild(self._log, starts.positions, starts.ends, self._retake, self._batch)

    def _retake(self, chunk: Chunk) -> None:
        if self._attempt(chunk, lambda _: None) < len(chunk):
            raise Unavailable(f"{self._processor.name} waits while the state of {chunk.tp} is rebuilt")

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
            self._transactions.commit()
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
            self._transactions.perform(step)
        if done:
            self.status.recent.note(done, dead_in(steps))
        if done < len(chunk):
            self._note_waiting(chunk.tp, steps[-1].why if steps else "")
            self._hold(chunk.slice(done))
        else:
            self.status.waiting.pop(chunk.tp, None)
        if done:
            self._advance(chunk, done)

    def _note_waiting(self, tp: TopicPartition, why: str) -> None:
        before = self.status.waiting.get(tp)
        if why and (before is None or before.why != why):
            log.info("%s waits: %s", tp, why)
            self.status.waiting[tp] = Waiting(why, time.monotonic() if before is None else before.since)

    def _hold(self, rest: Chunk) -> None:
        before = self._waiting.get(rest.tp)
        self._waiting[rest.tp] = rest if before is None else before.followed_by(rest)
        if rest.tp not in self._paused:
            self._group.pause([rest.tp])
            self._paused.add(rest.tp)

    def _advance(self, chunk: Chunk, done: int) -> None:
        at = int(chunk.offsets[done - 1]) + 1
        self._transactions.advance(chunk.tp, at)
        self.status.positions[chunk.tp] = at
        count(self.status.records_in, chunk.tp.topic, done)

    def _attempt(self, chunk: Chunk, perform: Callable[[Step], None]) -> int:
        """Process ``chunk``; gives how many of its records are done with."""

        def went_through(part: Chunk, step: Step) -> None:
            perform(step)
            self._recent.append((len(part), 0))

        def failed(one: Chunk, trace: str) -> None:
            self._fail(one, trace, perform)

        done = 0
        for part, hung in self._hangs.pieces(chunk):
            if hung:
                self._fail(part, f"the process hung on this record {hung} times, and was ended", perform)
                done += len(part)
                continue
            with self._hangs.in_hand(part):
                taken = process_bisecting(self._processor, part, went_through, failed)
            done += taken
            if taken < len(part):
                break
        return done

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

    # Committing, and giving up.

    def _end_transaction(self, *, leaving: bool = False) -> None:
        """Commit what is open, or give it up: on leaving, closing the writer aborts it, with no new producer to wait
        for."""
        try:
            self._transactions.commit()
        except TransactionAborted as e:
            log.warning("the last transaction is given up: %s", e)
            if leaving:
                self._transactions.drop()
            else:
                self._transactions.abort()

    def _give_up(self) -> None:
        """Abort what is open, on the way out with an error that matters more than this."""
        try:
            self._transactions.abort()
        except HeadraceError as e:
            log.warning("the open transaction was not given up, it will time out: %s", e)

    def _abort_and_rewind(self, cause: TransactionAborted) -> None:
        """Give the transaction up; read and rebuild from what is committed."""
        log.warning("transaction given up, reading again from the last commit: %s", cause)
        self._begin_rebuild()
        self._transactions.abort()
        self._aborted_at = time.monotonic(), self.status.commits
        self._pause(str(cause))

    def _pause(self, why: str) -> None:
        if not self.status.paused:
            log.warning("paused, trying again until it answers: %s", why)
        self.status.paused = why
        deadline = time.monotonic() + self._backoff
        while not self._stop and time.monotonic() < deadline:
            time.sleep(min(0.05, self._backoff))
        self._backoff = min(self._backoff * 2, LONGEST_PAUSE_S)

    def _note_ends(self) -> None:
        now = time.monotonic()
        if now >= self._ends_due:
            self._ends_due = now + ENDS_S
            self.status.ends = self._group.ends()
            done = {tp for tp, at in self.status.positions.items() if at == self._read.get(tp)}
            self.status.reached = {tp: at for tp, at in self._group.reached().items() if tp in done}
            if any(end < self.status.positions.get(tp, 0) for tp, end in self.status.ends.items()):
                self._footing.doubt()  # one ends before what was read of it

    def _recovered(self) -> None:
        """After an abort, a turn without an error proves nothing: it is a commit that does."""
        if self._aborted_at is not None:
            at, commits = self._aborted_at
            calm = not self._transactions.open and time.monotonic() - at > CALM_S
            if self.status.commits == commits and not calm:
                return
        if self.status.paused:
            log.info("going on: %s has passed", self.status.paused)
        self.status.paused = ""
        self._backoff = FIRST_PAUSE_S
        self._aborted_at = None

    def _close(self) -> None:
        """Let go of everything, whatever one part of it raises."""
        self.status.ready = False
        with ExitStack() as last:
            last.callback(self._processor.close)
            last.callback(self._writer.close)
            last.callback(self._end_rebuild)
            last.callback(self._hangs.close)
            try:
                self._group.close()
            except HeadraceError as e:
                log.warning("left the group without a commit: %s", e)
