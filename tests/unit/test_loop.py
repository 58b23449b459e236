"""The exactly-once loop on the in-memory log: outputs are a function of the input, whatever happens in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import Fenced, HeadraceError, TooManyFailures
from headrace.log import transactions
from headrace.log.base import Chunk, GroupReader, Output, Position, TopicPartition, read_all
from headrace.log.loop import ExactlyOnceLoop, LoopConfig
from headrace.log.memory import MemoryLog, MemoryWriter
from headrace.log.processor import Processor, Step
from tests.toys import DEAD, PassThrough, RunningCount, Ticking, Tracking, counts, dead_letter, values_of

GROUP = "g"
PARTITIONS = 2


class Crash(BaseException):
    """The process ends here."""


class ScriptedLog(MemoryLog):
    """Runs ``action`` at the chosen one of its writers' calls, counted from 1, before and after each takes effect."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0
        self.action: Callable[[], None] = lambda: None
        self.commits_go = threading.Event()
        self.commits_go.set()
        self.create_topics({name: (PARTITIONS, {}) for name in ("in", "out", "index", DEAD)})
        self.create_topics({"beat": (1, {})})

    def script(self, at: int, action: Callable[[], None]) -> None:
        self.at, self.action = at, action

    def passed(self) -> None:
        self.at -= 1
        if self.at == 0:
            self.action()

    def writer(self, transactional_id: str, *, tracks: bool = True) -> MemoryWriter:
        return ScriptedWriter(self, transactional_id)

    def put(self, values: Sequence[str], partition: int = 0) -> None:
        writer = MemoryWriter(self, f"put-{next(_ids)}")
        writer.begin()
        writer.write(Output(TopicPartition("in", partition), [None] * len(values), [v.encode() for v in values]))
        writer.commit()

    def given(self, partition: int) -> list[tuple[int, str]]:
        """Offset and value of the input records of a partition."""
        return [
            (o, (v or b"").decode())
            for c in read_all(self, "in")
            if c.tp.partition == partition
            for o, v in zip(c.offsets.tolist(), c.values, strict=True)
        ]


_ids = count()


class ScriptedWriter(MemoryWriter):
    def __init__(self, log: ScriptedLog, transactional_id: str) -> None:
        super().__init__(log, transactional_id)
        self._script = log

    def begin(self) -> None:
        self._script.passed()
        super().begin()
        self._script.passed()

    def append(self, outputs: Sequence[Output]) -> list[list[int]]:
        self._script.passed()
        offsets = super().append(outputs)
        self._script.passed()
        return offsets

    def send_offsets(self, positions: Mapping[TopicPartition, Position], group: GroupReader) -> None:
        assert self._script.commits_go.wait(60), "nothing lets the commit go"
        self._script.passed()
        super().send_offsets(positions, group)
        self._script.passed()

    def commit(self) -> None:
        self._script.passed()
        super().commit()
        self._script.passed()


@dataclass(frozen=True)
class Eager(LoopConfig):
    """Never waits for more records, however far apart the commits are."""

    @property
    def gather(self) -> float:
        return 0.0


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


def worker(
    log: MemoryLog,
    processor: Processor,
    name: str = "w",
    *,
    batch: int = 10_000,
    interval: float = 0.0,
    ahead: int = 0,
) -> ExactlyOnceLoop:
    config = Eager(GROUP, name, commit_interval=interval, batch=batch, idle_poll=0.0, ahead=ahead)
    return ExactlyOnceLoop(log, processor, config, dead_letter)


def turn(*loops: ExactlyOnceLoop, times: int = 1) -> None:
    for _ in range(times):
        for loop in loops:
            loop.turn()


def until(condition: Callable[[], bool], *loops: ExactlyOnceLoop) -> None:
    """Turn the loops, in turn, until a condition holds."""
    for _ in range(1000):
        if condition():
            return
        turn(*loops)
    raise AssertionError("not within 1000 turns")


def die(log: ScriptedLog, name: str) -> None:
    """A process has ended without a word: its session runs out, and so does its transaction."""
    log.expire(GROUP, name)


def committed(log: MemoryLog) -> dict[TopicPartition, int]:
    """Committed positions past the start."""
    return {tp: at.offset for tp, at in log.groups[GROUP].committed.items() if at.offset}


def caught_up(log: ScriptedLog) -> Callable[[], bool]:
    last = {TopicPartition("in", p): log.given(p)[-1][0] + 1 for p in range(PARTITIONS) if log.given(p)}
    return lambda: committed(log) == last


def outputs(log: MemoryLog, topic: str = "out") -> list[list[str]]:
    return list(values_of(log, topic).values())


def names(start: int, stop: int) -> list[str]:
    return [str(i) for i in range(start, stop)]


def words(start: int, stop: int) -> list[str]:
    return [f"w{i * i % 5}" for i in range(start, stop)]


def expected(log: ScriptedLog) -> list[list[str]]:
    return [counts(log.given(p)) for p in range(PARTITIONS)]


# Plain running.


def test_every_record_goes_through_once_and_in_order(log: ScriptedLog) -> None:
    log.put(names(0, 500), 0)
    log.put(names(500, 700), 1)
    loop = worker(log, PassThrough("in", "out"), batch=64)
    until(caught_up(log), loop)
    turn(loop, times=3)
    assert outputs(log) == [names(0, 500), names(500, 700)]
    assert (loop.status.records_in, loop.status.records_out) == ({"in": 700}, {"out": 700})
    assert (loop.status.ready, loop.status.paused, loop.status.aborts, loop.status.failures) == (True, "", 0, 0)
    assert loop.status.positions == committed(log)


def test_run_ends_when_told_and_commits_what_is_done(log: ScriptedLog) -> None:
    log.put(names(0, 10))
    processor = PassThrough("in", "out")
    loop = worker(log, processor, interval=60)
    thread = threading.Thread(target=loop.run, kwargs={"until": lambda: bool(processor.calls)})
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert outputs(log) == [names(0, 10), []]
    assert log.members(GROUP) == set()
    loop.stop()


def test_commits_are_as_far_apart_as_the_interval_says(log: ScriptedLog) -> None:
    loop = worker(log, PassThrough("in", "out"), interval=60)
    for start in range(0, 50, 10):
        log.put(names(start, start + 10))
        turn(loop, times=2)
    assert (loop.status.commits, outputs(log)) == (0, [[], []])
    loop.run(until=lambda: True)
    assert (loop.status.commits, outputs(log)) == (1, [names(0, 50), []])


def test_what_ticks_give_is_written_without_any_record(log: ScriptedLog) -> None:
    processor = Ticking("in", "out", "beat")
    loop = worker(log, processor)
    processor.due = [b"one", b"two"]
    turn(loop, times=2)
    assert outputs(log, "beat") == [["one", "two"]]
    assert committed(log) == {}
    log.put(["a"])
    processor.due = [b"three"]
    until(caught_up(log), loop)
    assert (outputs(log, "beat"), outputs(log)) == ([["one", "two", "three"]], [["a"], []])


def test_a_member_that_has_expired_cannot_commit_its_ticks_either(log: ScriptedLog) -> None:
    zombie = Ticking("in", "out", "beat")
    loop = worker(log, zombie, "zombie")
    turn(loop)
    zombie.due = [b"late"]
    log.script(1, lambda: log.expire(GROUP, "zombie"))
    turn(loop)
    assert (outputs(log, "beat"), loop.status.aborts) == ([[]], 1)


def test_tracked_outputs_name_the_true_offsets(log: ScriptedLog) -> None:
    loop = worker(log, Tracking("in", "out", "index"), batch=3)
    log.put(names(0, 8))
    until(caught_up(log), loop)
    places = [
        f"{(v or b'').decode()}@{o}" for c in read_all(log, "out") for o, v in zip(c.offsets, c.values, strict=True)
    ]
    assert outputs(log, "index") == [places, []]
    assert outputs(log) == [names(0, 8), []]


# Waiting and outages.


def test_records_a_processor_waits_with_come_again_and_other_partitions_flow(log: ScriptedLog) -> None:
    processor = PassThrough("in", "out")
    processor.gate = 6
    loop = worker(log, processor, batch=4)
    log.put(names(0, 10), 0)
    log.put(names(10, 14), 1)
    until(lambda: committed(log) == {TopicPartition("in", 0): 6, TopicPartition("in", 1): 4}, loop)
    log.put(names(14, 15), 1)  # at offset 5, after a marker
    until(lambda: committed(log)[TopicPartition("in", 1)] == 6, loop)
    turn(loop, times=5)
    assert outputs(log) == [names(0, 6), names(10, 15)]
    processor.gate = None
    until(caught_up(log), loop)
    assert outputs(log) == [names(0, 10), names(10, 15)]


def test_an_outage_pauses_without_loss_or_double(log: ScriptedLog) -> None:
    processor = PassThrough("in", "out")
    loop = worker(log, processor)
    log.put(names(0, 10), 0)
    turn(loop, times=3)
    processor.away = True
    log.put(names(10, 20), 0)
    log.put(names(20, 30), 1)  # both partitions come with one poll
    turn(loop, times=4)
    assert loop.status.paused == "the registry is away"
    log.put(names(30, 40), 1)
    turn(loop)
    assert outputs(log) == [names(0, 10), []]
    processor.away = False
    until(caught_up(log), loop)
    assert outputs(log) == [names(0, 20), names(20, 40)]
    assert outputs(log, DEAD) == [[], []]
    turn(loop)
    assert loop.status.paused == ""


def test_an_outage_in_the_middle_of_a_halved_batch_loses_nothing(log: ScriptedLog) -> None:
    class Fragile(PassThrough):
        def process(self, batch):  # type: ignore[no-untyped-def]
            self.away = len(self.calls) in (3, 4, 5)
            return super().process(batch)

    values = [*names(0, 5), "bad", *names(6, 12)]
    log.put(values)
    loop = worker(log, Fragile("in", "out"))
    until(caught_up(log), loop)
    assert outputs(log) == [[v for v in values if v != "bad"], []]
    assert outputs(log, DEAD) == [["bad"], []]


def test_an_outage_between_tracked_outputs_gives_the_whole_step_up(log: ScriptedLog) -> None:
    processor = Tracking("in", "out", "index")
    processor.away = 2
    loop = worker(log, processor)
    log.put(names(0, 5))
    until(caught_up(log), loop)
    assert outputs(log) == [names(0, 5), []]
    assert [len(v) for v in outputs(log, "index")] == [5, 0]
    assert loop.status.aborts == 2


def test_records_that_a_client_brings_again_are_taken_once(log: ScriptedLog) -> None:
    log.put(names(0, 20), 0)
    log.put(names(20, 30), 1)
    loop = worker(log, RunningCount("in", "out"), batch=4)
    until(lambda: len(committed(log)) == PARTITIONS, loop)
    reader = log.groups[GROUP].members[0]
    for back in (1, 3, 7):  # within the next batch, and more than one whole batch
        reader.rewind({tp: max(0, at - back) for tp, at in committed(log).items()})
        reader.resume(sorted(reader.assigned))
        turn(loop, times=2)
    until(caught_up(log), loop)
    turn(loop, times=3)
    assert outputs(log) == expected(log)
    assert loop.status.aborts == 0


@given(st.integers(0, 9), st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_of_a_chunk_only_records_past_all_before_them_are_new(start: int, offsets: list[int]) -> None:
    marks = [b"%d" % i for i in range(len(offsets))]
    chunk = Chunk.of(TopicPartition("in", 0), offsets, marks, marks)
    new = chunk.rising(start)
    wanted = [i for i, at in enumerate(offsets) if at >= start and all(at > earlier for earlier in offsets[:i])]
    assert new.offsets.tolist() == [offsets[i] for i in wanted]
    assert list(new.keys) == list(new.values) == [marks[i] for i in wanted]


def test_state_is_not_rebuilt_from_a_log_that_ends_before_what_was_committed(log: ScriptedLog) -> None:
    log.put(words(0, 30))
    first = worker(log, RunningCount("in", "out"), batch=10)
    until(caught_up(log), first)
    die(log, "w")
    whole = log.bounds
    log.bounds = lambda topic: {p: (0, min(end, 25)) for p, (_, end) in whole(topic).items()}  # type: ignore[method-assign]
    heir = worker(log, RunningCount("in", "out"), "heir", batch=10)
    turn(heir, times=3)
    assert not heir.status.ready
    assert heir.status.paused == (
        "in[0] ends at offset 25, and it was read up to 30 before: its broker is not yet back whole, or "
        "the topic was made anew (then set its groups' offsets back)"
    )
    log.bounds = whole  # type: ignore[method-assign]
    log.put(words(30, 40))
    until(caught_up(log), heir)
    assert outputs(log) == expected(log)


# The processor's own failures.


@pytest.mark.parametrize("bad", [0, 1, 499, 998, 999])
def test_a_failing_record_is_isolated_to_one_dead_letter(log: ScriptedLog, bad: int) -> None:
    values = names(0, 1000)
    values[bad] = "bad"
    log.put(values)
    processor = PassThrough("in", "out")
    loop = worker(log, processor)
    until(caught_up(log), loop)
    assert outputs(log) == [[v for v in values if v != "bad"], []]
    assert outputs(log, DEAD) == [["bad"], []]
    assert (loop.status.failures, loop.status.aborts) == (1, 0)
    assert len(processor.calls) <= 2 * 10 + 1


def test_failing_records_leave_the_state_of_the_others_exact(log: ScriptedLog) -> None:
    values = words(0, 60)
    values[7] = values[8] = values[40] = "bad"
    log.put(values)
    until(caught_up(log), worker(log, RunningCount("in", "out"), batch=25))
    assert outputs(log) == expected(log)
    assert outputs(log, DEAD) == [["bad"] * 3, []]


def test_too_many_failures_stop_the_worker_and_nothing_is_lost(log: ScriptedLog) -> None:
    values = [*names(0, 30), *(f"bad{i}" for i in range(50))]
    log.put(values)
    processor = PassThrough("in", "out")
    with pytest.raises(TooManyFailures, match=r"pass failed on \d+ of its last \d+ records.*in\[0\] offset"):
        worker(log, processor, batch=40).run()
    assert log.members(GROUP) == set()
    done = outputs(log)[0] + outputs(log, DEAD)[0]
    assert done == values[: len(done)]

    class Mended(PassThrough):
        def process(self, batch):  # type: ignore[no-untyped-def]
            return super().process(type(batch)(batch.tp, batch.offsets, batch.keys, [b"+" + v for v in batch.values]))

    until(caught_up(log), worker(log, Mended("in", "out"), "mended"))
    assert [v.removeprefix("+") for v in [*outputs(log, DEAD)[0], *outputs(log)[0]]] == [
        *(v for v in done if v.startswith("bad")),
        *(v for v in values if not v.startswith("bad") or v not in done),
    ]


def test_an_error_that_ends_the_worker_commits_nothing_of_the_open_step(log: ScriptedLog) -> None:
    def broken() -> None:
        raise HeadraceError("a record is too large")

    log.put(names(0, 10), 0)
    log.put(names(10, 20), 1)
    for at in count(1):
        log.script(at, broken)
        loop = worker(log, PassThrough("in", "out"), f"w{at}", interval=60)
        try:
            loop.run(until=lambda loop=loop: sum(loop.status.positions.values()) == 20)  # type: ignore[misc]
        except HeadraceError:
            assert (outputs(log), committed(log)) == ([[], []], {}) or caught_up(log)()
        else:
            break
    assert at > 8
    assert outputs(log) == [names(0, 10), names(10, 20)]


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

    log.put(names(0, 100))
    log.commits_go.clear()
    processor = Watched("in", "out")
    loop = worker(log, processor, batch=10, ahead=4)
    until(lambda: loop.status.commits == 1, loop)
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


def test_tracked_outputs_held_back_name_the_true_offsets(log: ScriptedLog) -> None:
    log.put(names(0, 30))
    log.commits_go.clear()
    loop = worker(log, Tracking("in", "out", "index"), batch=5, ahead=20)
    until(lambda: loop.status.positions.get(TopicPartition("in", 0)) == 30, loop)
    log.commits_go.set()
    until(caught_up(log), loop)
    places = [
        f"{(v or b'').decode()}@{o}" for c in read_all(log, "out") for o, v in zip(c.offsets, c.values, strict=True)
    ]
    assert (outputs(log), outputs(log, "index")) == ([names(0, 30), []], [places, []])


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
