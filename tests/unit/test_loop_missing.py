"""The loop where Kafka no longer has what a worker needs: it stops and says what, and goes on once that is accepted."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from headrace.errors import HeadraceError, RecordsLost, TopicReplaced
from headrace.kafka.log import TopicPartition
from headrace.kafka.missing import Missing
from headrace.worker.loop import ExactlyOnceLoop
from tests.toys import PassThrough, RunningCount, counts, dead_letter
from tests.unit.loops import (
    GROUP,
    Eager,
    ScriptedLog,
    caught_up,
    committed,
    die,
    names,
    outputs,
    turn,
    until,
    words,
    worker,
)

ZERO = TopicPartition("in", 0)


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


def stopped(loop: ExactlyOnceLoop) -> HeadraceError:
    """What a loop that must not go on ends with."""
    turns = count()
    with pytest.raises((RecordsLost, TopicReplaced)) as told:
        loop.run(until=lambda: next(turns) > 1000)
    return told.value


def heir(log: ScriptedLog, *accepted: Missing, counting: bool = False) -> ExactlyOnceLoop:
    """A worker that takes over, to which these losses have been accepted."""
    config = Eager(GROUP, "heir", commit_interval=0.0, idle_poll=0.0, ahead=0, batch=100)
    processor = RunningCount("in", "out") if counting else PassThrough("in", "out")
    return ExactlyOnceLoop(log, processor, config, dead_letter, lambda: accepted)


def gone_before(log: ScriptedLog) -> None:
    """Ten records are processed, thirty come while nobody works, and twenty of those are dropped unread."""
    log.put(names(0, 10))
    loop = worker(log, PassThrough("in", "out"))
    until(caught_up(log), loop)
    die(log, "w")
    log.put(names(10, 40))
    log.drop_before(ZERO, 31)


def test_records_dropped_unread_stop_the_worker_which_says_where_and_how_many(log: ScriptedLog) -> None:
    gone_before(log)
    loop = heir(log)
    told = stopped(loop)
    assert type(told) is RecordsLost
    assert str(told) == (
        "pass stops: Kafka no longer has what it needs to go on. in[0]: offsets 10 to 30, not read yet. Nothing was "
        "passed over. To go on without them, in writing: headrace run pass PIPELINE --accept-loss"
    )
    assert (outputs(log), loop.status.records_in, committed(log)) == ([names(0, 10), []], {}, {ZERO: 10})


@pytest.mark.parametrize(
    ("stop", "topic_id", "goes_on"), [(31, "0", True), (99, "0", True), (30, "0", False), (31, "another", False)]
)
def test_what_was_accepted_as_lost_is_passed_over_and_no_more_than_that(
    log: ScriptedLog, stop: int, topic_id: str, goes_on: bool
) -> None:
    gone_before(log)
    loop = heir(log, Missing(ZERO, 10, stop, topic_id, "unread"))
    if not goes_on:
        stopped(loop)
        assert outputs(log) == [names(0, 10), []]
        return
    until(lambda: committed(log) == {ZERO: log.given(0)[-1][0] + 1}, loop)
    assert outputs(log) == [names(0, 10) + [v for o, v in log.given(0) if o >= 31], []]


def test_state_whose_beginning_was_dropped_is_not_rebuilt_shorter(log: ScriptedLog) -> None:
    log.put(words(0, 80))
    loop = worker(log, RunningCount("in", "out"))
    until(caught_up(log), loop)
    die(log, "w")
    log.drop_before(ZERO, 40)
    assert "in[0]: offsets 30 to 39, that its state is rebuilt from." in str(stopped(heir(log, counting=True)))
    accepting = heir(log, Missing(ZERO, 30, 40, "0", "state"), counting=True)
    turn(accepting, times=4)
    assert accepting.status.ready


def test_where_a_partition_starts_is_committed_before_its_first_record(log: ScriptedLog) -> None:
    """Else records that come and go while nobody works are missed in silence: nothing says that they were due."""
    loop = worker(log, PassThrough("in", "out"))
    until(lambda: loop.status.commits == 1, loop)
    die(log, "w")
    log.put(names(0, 10))
    log.drop_before(ZERO, 5)
    assert "in[0]: offsets 0 to 4, not read yet" in str(stopped(heir(log)))


def test_a_group_that_never_was_begins_at_what_is_there(log: ScriptedLog) -> None:
    log.put(names(0, 10))
    log.drop_before(ZERO, 5)
    loop = heir(log)
    until(lambda: committed(log) == {ZERO: log.given(0)[-1][0] + 1}, loop)
    assert outputs(log) == [names(5, 10), []]


def test_records_dropped_under_a_running_worker_stop_it_and_what_was_done_is_committed(log: ScriptedLog) -> None:
    log.put(names(0, 10))
    loop = worker(log, PassThrough("in", "out"), interval=60)
    until(lambda: loop.status.positions.get(ZERO) == 10, loop)
    log.put(names(10, 40))
    log.drop_before(ZERO, 31)
    assert "in[0]: offsets 10 to 30, not read yet" in str(stopped(loop))
    assert (outputs(log), committed(log)) == ([names(0, 10), []], {ZERO: 10})


def made_again(log: ScriptedLog, records: int) -> None:
    """The topic is deleted and made again, with so many records."""
    log.delete_topic("in")
    log.create_topics({"in": (2, {})})
    log.put(names(100, 100 + records))


@pytest.mark.parametrize("records", [0, 5, 50])
def test_a_topic_made_again_under_a_running_worker_is_noticed(
    log: ScriptedLog, records: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.worker.footing.TOPICS_S", 0.0)
    log.put(names(0, 10))
    loop = worker(log, PassThrough("in", "out"))
    until(caught_up(log), loop)
    made_again(log, records)
    told = stopped(loop)
    assert type(told) is TopicReplaced
    assert "in was deleted and made again" in str(told) or "in[0]: the topic was deleted and made again" in str(told)
    assert outputs(log)[0][:10] == names(0, 10)


def test_a_topic_made_again_while_nobody_worked_is_noticed_by_what_was_committed(log: ScriptedLog) -> None:
    """Kafka drops a deleted topic's committed offsets after a while; where it has not, they mean nothing."""
    log.put(names(0, 10))
    loop = worker(log, PassThrough("in", "out"))
    until(caught_up(log), loop)
    die(log, "w")
    kept = dict(log.groups[GROUP].committed)
    made_again(log, 20)
    log.groups[GROUP].committed.update(kept)
    new = log.topic_ids(["in"])["in"]
    told = stopped(heir(log))
    assert type(told) is TopicReplaced
    assert "in[0]: the topic was deleted and made again since offset 10 was committed" in str(told)
    accepted = [Missing(TopicPartition("in", p), 0, 0, new, "replaced") for p in (0, 1)]
    going = heir(log, *accepted)
    until(lambda: committed(log) == {ZERO: log.given(0)[-1][0] + 1}, going)
    assert outputs(log)[0][10:] == names(100, 120)


def rebuilding(log: ScriptedLog, slices: float, monkeypatch: pytest.MonkeyPatch) -> ExactlyOnceLoop:
    """A worker that rebuilds its state a batch a turn."""
    monkeypatch.setattr("headrace.worker.rebuild.SLICE_S", slices)
    log.put(words(0, 49))
    first = worker(log, RunningCount("in", "out"))
    until(caught_up(log), first)
    die(log, "w")
    return worker(log, RunningCount("in", "out"), "heir", batch=10)


def test_a_rebuild_goes_on_slice_by_slice_polls_between_them_and_tells_how_far_it_is(
    log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = rebuilding(log, 0.0, monkeypatch)
    polls = counted_polls(loop)
    seen = []
    while not loop.status.ready:
        turn(loop)
        seen.append((polls(), loop.status.rebuilding))
    told = [progress for _, progress in seen if progress is not None]
    assert told == [(10, 49), (20, 49), (30, 49), (40, 49)]
    assert [polled for polled, _ in seen] == list(range(1, len(seen) + 1))
    log.put(words(49, 60))
    until(caught_up(log), loop)
    assert outputs(log)[0] == outputs_of_one_worker(log)


def test_a_worker_that_is_told_to_end_while_it_rebuilds_does_so_within_a_slice(
    log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = rebuilding(log, 0.0, monkeypatch)
    loop.run(until=lambda: loop.status.rebuilding is not None)
    assert loop.status.rebuilding is None
    assert log.members(GROUP) == set()


def test_partitions_that_go_in_the_midst_of_a_rebuild_are_rebuilt_by_who_gets_them(
    log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = rebuilding(log, 0.0, monkeypatch)
    until(lambda: loop.status.rebuilding is not None, loop)
    other = worker(log, RunningCount("in", "out"), "another", batch=10)
    log.put(words(49, 60))
    until(caught_up(log), loop, other)
    assert outputs(log)[0] == outputs_of_one_worker(log)


def counted_polls(loop: ExactlyOnceLoop) -> Callable[[], int]:
    made = 0
    poll = loop._group.poll

    def counting(limit: int, timeout: float) -> object:
        nonlocal made
        made += 1
        return poll(limit, timeout)

    loop._group.poll = counting  # type: ignore[method-assign,assignment]
    return lambda: made


def outputs_of_one_worker(log: ScriptedLog) -> list[str]:
    return counts(log.given(0))
