"""The loop's transactions on the in-memory log: crashes, commits on their way, partitions that come and go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import Fenced
from headrace.kafka.log import Chunk, Output, TopicPartition, read_all
from headrace.kafka.memory import MemoryWriter
from headrace.worker import transactions
from headrace.worker.loop import ExactlyOnceLoop
from headrace.worker.processor import IDLE, Step
from tests.toys import DEAD, PassThrough, RunningCount, Tracking
from tests.unit.loops import (
    GROUP,
    PARTITIONS,
    ScriptedLog,
    caught_up,
    committed,
    die,
    expected,
    names,
    outputs,
    turn,
    until,
    words,
    worker,
)


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


# Crashes.


@pytest.mark.parametrize("same_name", [True, False])
@pytest.mark.parametrize("kind", [PassThrough, RunningCount])
@pytest.mark.parametrize("ahead", [0, 3])
def test_a_crash_at_any_call_of_the_writer_loses_and_doubles_nothing(
    kind: type[PassThrough | RunningCount], same_name: bool, ahead: int
) -> None:
    for at in count(1):
        log = ScriptedLog()
        log.put(words(0, 20), 0)
        log.put(words(20, 30), 1)

        def crash() -> None:
            raise Crash

        log.script(at, crash)
        crashed = False
        try:
            until(caught_up(log), worker(log, kind("in", "out"), "w", batch=8, ahead=ahead))
        except Crash:
            crashed = True
            die(log, "w")
            heir = worker(log, kind("in", "out"), "w" if same_name else "v", batch=8, ahead=ahead)
            if not same_name:
                MemoryWriter(log, f"{GROUP}.w")  # the broker's limit ends the dead one's transaction
            until(caught_up(log), heir)
            turn(heir, times=2)
        want = expected(log) if kind is RunningCount else [words(0, 20), words(20, 30)]
        assert outputs(log) == want, f"crash at call {at}"
        if not crashed:
            break
    assert at > (10 if ahead else 20)


def test_a_worker_that_comes_back_under_its_name_fences_the_old_one(log: ScriptedLog) -> None:
    log.put(names(0, 10))
    old = worker(log, PassThrough("in", "out"), interval=60)
    turn(old, times=2)
    die(log, "w")
    new = worker(log, PassThrough("in", "out"))
    until(caught_up(log), new)
    with pytest.raises(Fenced, match=r"another worker runs as g\.w"):
        old.run()
    turn(new, times=2)
    assert outputs(log) == [names(0, 10), []]


@pytest.mark.parametrize("at", range(1, 9))
def test_a_member_that_expires_in_a_transaction_writes_nothing_twice(log: ScriptedLog, at: int) -> None:
    """Eight calls: begin, write, send_offsets, commit, each before and after it takes effect."""
    log.put(words(0, 10))
    zombie = worker(log, RunningCount("in", "out"), "zombie")
    heir: list[ExactlyOnceLoop] = []

    def expire() -> None:
        log.expire(GROUP, "zombie")
        heir.append(worker(log, RunningCount("in", "out"), "heir"))
        turn(heir[0], times=3)

    turn(zombie)
    log.script(at, expire)
    until(lambda: bool(heir), zombie)
    log.put(words(10, 20))
    log.put(words(20, 30), 1)
    until(caught_up(log), zombie, heir[0])
    turn(zombie, heir[0], times=5)
    assert outputs(log) == expected(log)
    assert log.members(GROUP) == {"zombie", "heir"}


# Commits on their way.


def test_batches_are_processed_while_a_commit_is_on_its_way_but_only_so_many(log: ScriptedLog) -> None:
    class Watched(PassThrough):
        def process(self, batch: Chunk) -> Step:
            step = super().process(batch)
            if len(self.calls) == 1 + 4:
                assert (outputs(log), committed(log)) == ([[], []], {})
                log.commits_go.set()
            return step

    processor = Watched("in", "out")
    loop = worker(log, processor, batch=10, ahead=4)
    until(lambda: loop.status.commits == 1, loop)  # where it starts is written down
    log.put(names(0, 100))
    log.commits_go.clear()
    until(lambda: loop.status.commits == 2, loop)
    assert processor.calls == [10] * 5
    until(caught_up(log), loop)
    assert (outputs(log), loop.status.aborts) == ([names(0, 100), []], 0)


def test_partitions_go_when_the_commit_on_its_way_and_what_was_held_are_there(log: ScriptedLog) -> None:
    log.put(words(0, 100), 0)
    log.put(words(100, 200), 1)
    log.commits_go.clear()
    first = worker(log, RunningCount("in", "out"), "a", batch=5, ahead=20)
    until(lambda: first.status.positions.get(TopicPartition("in", 0)) == 50, first)
    done = dict(first.status.positions)
    assert committed(log) == {}
    second = worker(log, RunningCount("in", "out"), "b", batch=7)
    free = threading.Timer(0.1, log.commits_go.set)
    free.start()
    turn(first)
    assert committed(log) == {tp: at for tp, at in done.items() if at}
    until(caught_up(log), first, second)
    free.join()
    assert outputs(log) == expected(log)
    assert first.status.aborts == 0


def test_what_was_held_goes_with_the_commit_that_failed_before_it(log: ScriptedLog) -> None:
    log.put(words(0, 100))
    log.commits_go.clear()
    zombie = worker(log, RunningCount("in", "out"), "zombie", batch=5, ahead=20)
    until(lambda: zombie.status.positions == {TopicPartition("in", 0): 50, TopicPartition("in", 1): 0}, zombie)
    log.expire(GROUP, "zombie")
    log.commits_go.set()
    turn(zombie)
    assert (committed(log), zombie.status.aborts) == ({}, 1)
    heir = worker(log, RunningCount("in", "out"), "heir")
    until(caught_up(log), zombie, heir)
    assert outputs(log) == expected(log)


def test_a_worker_fenced_while_a_commit_is_on_its_way_stops_and_writes_no_more(log: ScriptedLog) -> None:
    log.put(names(0, 100))
    log.commits_go.clear()
    old = worker(log, PassThrough("in", "out"), batch=5, ahead=20)
    until(lambda: old.status.positions == {TopicPartition("in", 0): 50, TopicPartition("in", 1): 0}, old)
    die(log, "w")
    new = worker(log, PassThrough("in", "out"))
    log.commits_go.set()
    with pytest.raises(Fenced, match=r"another worker runs as g\.w"):
        old.run()
    until(caught_up(log), new)
    assert outputs(log) == [names(0, 100), []]


def test_what_was_processed_during_a_commit_waits_an_interval_from_then(
    log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(transactions, "time", SimpleNamespace(monotonic=lambda: now))
    processor = PassThrough("in", "out")
    loop = worker(log, processor, interval=60, ahead=20)

    def processed(first: int, last: int) -> None:
        log.put(names(first, last))
        until(lambda: sum(processor.calls) == last, loop)

    processed(0, 10)
    now = 1060.0
    log.commits_go.clear()
    processed(10, 20)
    now = 1100.0
    log.commits_go.set()
    until(lambda: loop.status.commits == 1, loop)
    now = 1119.0
    processed(20, 30)
    assert loop.status.commits == 1
    now = 1120.0
    until(caught_up(log), loop)
    assert outputs(log) == [names(0, 30), []]


def test_a_step_that_asks_for_offsets_waits_for_the_commit_on_its_way(log: ScriptedLog) -> None:
    log.put(names(0, 30))
    loop = worker(log, Tracking("in", "out", "index"), batch=5, ahead=20)
    until(lambda: loop.status.positions.get(TopicPartition("in", 0)) == 5, loop)
    log.commits_go.clear()
    with let_go_soon(log):
        until(caught_up(log), loop)
    places = [
        f"{(v or b'').decode()}@{o}" for c in read_all(log, "out") for o, v in zip(c.offsets, c.values, strict=True)
    ]
    assert (outputs(log), outputs(log, "index")) == ([names(0, 30), []], [places, []])


class Ordered(PassThrough):
    """Has one record to write beside its batches, and gives it until it is told where it stands."""

    def __init__(self, source: str, sink: str) -> None:
        super().__init__(source, sink)
        self.due = False

    def tick(self) -> Step:
        return Step([Output(TopicPartition("beat", 0), [None], [b"done"])], tracked=self._told) if self.due else IDLE

    def _told(self, offsets: list[list[int]]) -> list[Output]:
        self.due = False
        return []


def test_what_a_processor_gives_until_it_is_told_offsets_is_written_once(log: ScriptedLog) -> None:
    log.put(names(0, 10))
    log.commits_go.clear()
    processor = Ordered("in", "out")
    loop = worker(log, processor, ahead=20)
    until(lambda: loop.status.positions.get(TopicPartition("in", 0)) == 10, loop)
    processor.due = True
    with let_go_soon(log):
        turn(loop, times=5)
    until(lambda: loop.status.commits == 2, loop)
    assert (outputs(log), outputs(log, "beat")) == ([names(0, 10), []], [["done"]])


@contextmanager
def let_go_soon(log: ScriptedLog) -> Iterator[None]:
    """Commits that are stuck go through in a moment."""
    free = threading.Timer(0.1, log.commits_go.set)
    free.start()
    yield
    free.join()


# Rebalances.


def test_a_second_worker_joins_and_leaves_in_the_middle(log: ScriptedLog) -> None:
    log.put(words(0, 100), 0)
    log.put(words(100, 200), 1)
    first = worker(log, RunningCount("in", "out"), "a", batch=7, interval=60)
    turn(first, times=4)
    assert first.status.positions != committed(log)  # a transaction is open when the second one comes
    second = worker(log, RunningCount("in", "out"), "b", batch=7)
    turn(first, second, times=4)
    assert [len(loop.status.positions) for loop in (first, second)] == [1, 1]
    second.run(until=lambda: True)
    first.run(until=lambda: sum(loop_at(first)) == 200)
    assert outputs(log) == expected(log)


def loop_at(loop: ExactlyOnceLoop) -> list[int]:
    return list(loop.status.positions.values())


def test_added_partitions_are_taken_up(log: ScriptedLog) -> None:
    log.put(names(0, 5))
    loop = worker(log, PassThrough("in", "out"))
    until(caught_up(log), loop)
    for topic in ("in", "out"):
        log.add_partitions(topic, 3)
    log.put(names(5, 9), 2)
    until(lambda: TopicPartition("in", 2) in committed(log), loop)
    assert outputs(log) == [names(0, 5), [], names(5, 9)]


def test_a_rebuilt_state_is_the_state_that_was(log: ScriptedLog) -> None:
    for start in range(0, 200, 20):
        log.put(words(start, start + 20), start // 20 % 2)
    before, after = RunningCount("in", "out"), RunningCount("in", "out")
    old = worker(log, before, "old", batch=13)
    until(caught_up(log), old)
    seen = {tp: list(records) for tp, records in before.seen.items()}
    old.run(until=lambda: True)
    new = worker(log, after, "new")
    turn(new, times=2)
    assert new.status.ready
    assert after.seen == seen
    assert new.status.records_out == {}


@dataclass
class Cluster:
    """Workers that come, turn, crash, expire and go, as a script says."""

    log: ScriptedLog = field(default_factory=ScriptedLog)
    workers: dict[str, ExactlyOnceLoop] = field(default_factory=dict)

    def come(self, name: str, batch: int, ahead: int) -> None:
        if name not in self.workers:
            interval = 0.0 if batch % 2 else 60.0
            self.workers[name] = worker(
                self.log, RunningCount("in", "out"), name, batch=batch, interval=interval, ahead=ahead
            )

    def turn(self, name: str) -> None:
        if name in self.workers:
            self.workers[name].turn()

    def crash(self, name: str, at: int) -> None:
        """Turn a worker until it dies at the given call of its writer, or has none left to make."""
        loop = self.workers.pop(name, None)
        if loop is None:
            return

        def crash() -> None:
            raise Crash

        self.log.script(at, crash)
        try:
            for _ in range(4):
                loop.turn()
        except Crash:
            pass
        self.log.script(0, lambda: None)
        self.log.expire(GROUP, name)

    def expire(self, name: str) -> None:
        if name in self.workers and name in self.log.members(GROUP):
            self.log.expire(GROUP, name)

    def go(self, name: str) -> None:
        if loop := self.workers.pop(name, None):
            loop.run(until=lambda: True)

    def finish(self) -> None:
        for name in list(self.workers):
            self.crash(name, 0)
        last = worker(self.log, RunningCount("in", "out"), "last")
        for name in "ab":
            MemoryWriter(self.log, f"{GROUP}.{name}")
        if any(self.log.given(p) for p in range(PARTITIONS)):
            until(caught_up(self.log), last)
        turn(last, times=2)


NAMES = st.sampled_from("ab")
EVENTS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 12), st.integers(0, PARTITIONS - 1)),
    st.tuples(st.just("come"), NAMES, st.integers(1, 9), st.sampled_from([0, 1, 4])),
    st.tuples(st.just("turn"), NAMES),
    st.tuples(st.just("turn"), NAMES),
    st.tuples(st.just("crash"), NAMES, st.integers(1, 12)),
    st.tuples(st.just("expire"), NAMES),
    st.tuples(st.just("go"), NAMES),
)


@pytest.mark.slow
@settings(max_examples=150)
@given(st.lists(EVENTS, max_size=40))
def test_outputs_are_a_pure_function_of_the_input(events: list[tuple[str, ...]]) -> None:
    cluster, written = Cluster(), 0
    cluster.log.put([*words(0, 10), "bad", *words(10, 20)])
    for what, *how in events:
        if what == "put":
            n, partition = (int(x) for x in how)
            cluster.log.put(words(written, written + n), partition)
            written += n
        else:
            getattr(cluster, what)(*how)
    cluster.finish()
    assert outputs(cluster.log) == expected(cluster.log)
    assert outputs(cluster.log, DEAD) == [["bad"], []]
