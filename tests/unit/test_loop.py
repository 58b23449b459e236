"""The exactly-once loop on the in-memory log: outputs are a function of the input, whatever happens in between."""

from __future__ import annotations

import threading
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import HeadraceError, TooManyFailures
from headrace.kafka.log import Chunk, TopicPartition, read_all
from tests.toys import DEAD, PassThrough, RunningCount, Ticking, Tracking
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


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


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


@pytest.mark.slow
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
        "the topic was made anew"
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
