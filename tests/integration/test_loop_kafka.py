"""Exactly-once on a real Kafka: workers that are killed, stopped and joined at every point, and a broker that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Settings
from headrace.embedded.stack import Stack
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Output, TopicPartition, read_all
from headrace.kafka.native.choice import native
from tests.process import Process
from tests.toys import counts, values_of
from tests.waiting import wait_for
from tests.zygote import started

pytestmark = pytest.mark.kafka

POINTS = ["after_read", "after_begin", "after_write", "after_offsets", "after_commit"]
PARTITIONS = 2


class Bench:
    """Topics, records and worker processes of one test."""

    def __init__(self, settings: Settings, unique: Callable[[str], str], logs: Path) -> None:
        self.source, self.sink, self.dead, self.group = (unique(n) for n in ("in", "out", "dead", "g"))
        self.log = KafkaLog(settings, "test")
        self.log.create_topics({t: (PARTITIONS, {}) for t in (self.source, self.sink, self.dead)})
        self._sender = self.log.sender("test")
        self._settings = settings
        self._logs = logs
        self._sent = 0
        self.processes: list[Process] = []

    def send(self, n: int) -> None:
        """Send ``n`` more records, over all partitions."""
        numbers = range(self._sent, self._sent + n)
        self._sender.send(self.source, [b"%d" % i for i in numbers], [b"w%d" % (i * i % 7) for i in numbers])
        self._sent += n

    def flush(self) -> None:
        self._sender.flush()

    def start(self, worker: str, properties: dict[str, str] | None = None, **env: str) -> Process:
        """Start a worker process."""
        args: dict[str, Any] = {
            "bootstrap": self._settings.bootstrap,
            "kafka": self._settings.kafka | {"session.timeout.ms": "1500", **(properties or {})},
            "group": self.group,
            "worker": worker,
            "source": self.source,
            "sink": self.sink,
            "dead": self.dead,
            "batch": 20,
            "commit_interval": 0.0,
            "ahead": 2,
        }
        module, log = "tests.integration.loop_worker", self._logs / f"{worker}.log"
        process = started(module, [json.dumps(args)], {**os.environ, **env}, log)
        self.processes.append(process)
        return process

    def done(self) -> int:
        """Records whose outputs can be read."""
        return sum(map(len, values_of(self.log, self.sink).values()))

    def finished(self) -> bool:
        return self.done() >= self._sent

    def check(self, deadline_s: float = 30) -> None:
        """Wait until everything sent has come out, then compare: no loss, no duplicate, order and state kept."""
        self.flush()
        wait_for(self.finished, deadline_s, f"{self._sent} records come out of {self.sink}")
        given = self.given()
        found = values_of(self.log, self.sink, settled=True)
        for p in range(self.log.partitions(self.sink)):
            assert found[p] == counts(given[p]), self.told(given[p], found[p])
        assert values_of(self.log, self.dead) == {p: [] for p in range(PARTITIONS)}

    def told(self, given: list[tuple[int, str]], found: list[str]) -> str:
        """Where a partition's outputs first leave what they should be, and what the workers said."""
        wanted = [f"{offset} {count}" for (offset, _), count in zip(given, counts(given), strict=True)]
        at = next((i for i, (w, f) in enumerate(zip(wanted, found, strict=False)) if w.split()[1] != f), len(found))
        near = slice(max(0, at - 25), at + 60)
        logs = "\n".join(f"{path.name}:\n{path.read_text()}" for path in sorted(self._logs.glob("*.log")))
        return (
            f"{len(found)} of {len(given)}, wrong from the {at}th on\n"
            f"wanted {wanted[near]}\nfound {found[near]}\n{logs}"
        )

    def given(self) -> dict[int, list[tuple[int, str]]]:
        found: dict[int, list[tuple[int, str]]] = {p: [] for p in range(self.log.partitions(self.source))}
        for chunk in read_all(self.log, self.source):
            values = [(v or b"").decode() for v in chunk.values]
            found[chunk.tp.partition] += zip(chunk.offsets.tolist(), values, strict=True)
        return found

    def stop(self) -> None:
        """End every worker that still runs; those that end by themselves must end well."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGUSR1)  # it says in its log where it hangs
                process.kill()
                process.wait()


@pytest.fixture
def bench(settings: Settings, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(settings, unique, tmp_path)
    yield bench
    bench.stop()


@pytest.fixture
def lonely(own_settings: Settings, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Bench]:
    """The same on a Kafka that nobody else uses."""
    bench = Bench(own_settings, unique, tmp_path)
    yield bench
    bench.stop()


def ended(process: Process, code: int) -> None:
    assert process.wait(20) == code


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_anywhere_and_started_again_loses_and_doubles_nothing(bench: Bench, point: str) -> None:
    bench.send(400)
    bench.flush()
    ended(bench.start("w", HEADRACE_FAULT=f"{point}:5"), -signal.SIGKILL)
    again = bench.start("w")
    bench.send(200)
    bench.check()
    again.terminate()
    ended(again, 0)
    assert bench.log.members(bench.group) == set()


def test_another_worker_takes_over_from_one_that_was_killed_with_its_offsets_sent(bench: Bench) -> None:
    bench.send(300)
    bench.flush()
    quick = {"transaction.timeout.ms": "1000"}
    ended(bench.start("dead", quick, HEADRACE_FAULT="after_offsets:4"), -signal.SIGKILL)
    bench.start("heir", quick)
    bench.send(100)
    bench.check(45)


@pytest.mark.skipif(isinstance(native(), str), reason=str(native()))
def test_another_worker_takes_over_from_one_that_crashed_inside_a_kernel(bench: Bench) -> None:
    bench.send(300)
    bench.flush()
    quick = {"transaction.timeout.ms": "1000"}
    ended(bench.start("dead", quick, CRASH_AT="131"), -signal.SIGSEGV)
    assert 0 < sum(bench.log.committed(bench.group).values()) < 300
    bench.start("heir", quick)
    bench.send(100)
    bench.check(45)


@pytest.mark.parametrize("point", ["after_write", "after_offsets"])
def test_a_worker_stopped_past_its_session_writes_nothing_twice(bench: Bench, point: str) -> None:
    bench.send(300)
    bench.flush()
    zombie = bench.start("zombie", STOP_AT=f"{point}:4")
    wait_for(lambda: stopped(zombie), 20, "the worker stops itself")
    bench.start("heir")
    wait_for(lambda: bench.log.members(bench.group) == {"heir"}, 20, "the zombie is dropped")
    if point == "after_write":  # the heir need not wait for the zombie's transaction
        wait_for(lambda: sum(bench.log.committed(bench.group).values()) == 300, 20, "the heir does it all")
    zombie.send_signal(signal.SIGCONT)
    wait_for(lambda: bench.log.members(bench.group) == {"heir", "zombie"}, 20, "the zombie joins again")
    bench.send(200)
    bench.check()


def test_a_worker_stopped_past_its_transactions_limit_goes_on_when_it_wakes(bench: Bench) -> None:
    bench.send(300)
    bench.flush()
    zombie = bench.start("zombie", {"transaction.timeout.ms": "1000"}, STOP_AT="after_offsets:4")
    wait_for(lambda: stopped(zombie), 20, "the worker stops itself")
    heir = bench.start("heir")
    wait_for(bench.finished, 40, "the heir does it all")
    heir.terminate()
    ended(heir, 0)
    zombie.send_signal(signal.SIGCONT)
    bench.send(200)
    bench.check()


def stopped(process: Process) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_workers_that_join_and_leave_under_load(bench: Bench) -> None:
    bench.send(100)
    bench.start("a")
    wait_for(lambda: bench.done() > 0, 20, "the first worker is under way")
    second = bench.start("b")

    def both() -> bool:
        bench.send(20)
        return bench.log.members(bench.group) == {"a", "b"}

    wait_for(both, 20, "the second one joins")
    before = bench.done()
    bench.send(200)
    bench.flush()
    wait_for(lambda: bench.done() > before, 20, "both work")
    second.terminate()
    ended(second, 0)
    bench.send(100)
    bench.check()


def test_a_broker_killed_under_load_and_started_again(lonely: Bench, own_stack: Stack) -> None:
    lonely.send(500)
    worker = lonely.start("w")
    wait_for(lambda: lonely.done() > 0, 20, "the worker is under way")
    lonely.send(2000)
    own_stack.kill_broker()
    lonely.send(100)
    own_stack.restart_broker()
    lonely.check(90)
    assert worker.poll() is None


def test_a_worker_told_to_stop_while_the_broker_is_away_ends(lonely: Bench, own_stack: Stack) -> None:
    lonely.send(1000)
    worker = lonely.start("w")
    wait_for(lambda: lonely.done() > 0, 20, "the worker is under way")
    own_stack.kill_broker()
    worker.terminate()
    code = worker.wait(120)
    own_stack.restart_broker()
    assert code == 0
    lonely.start("heir")
    lonely.check(60)


def test_partitions_added_later_are_picked_up(bench: Bench) -> None:
    bench.send(50)
    bench.start("w")
    bench.check()
    for topic in (bench.source, bench.sink):
        bench.log.add_partitions(topic, PARTITIONS + 1)
    writer = bench.log.writer(f"{bench.group}-more")
    writer.begin()
    writer.write(Output(TopicPartition(bench.source, PARTITIONS), [None] * 3, [b"x", b"y", b"x"]))
    writer.commit()
    wait_for(
        lambda: values_of(bench.log, bench.sink)[PARTITIONS] == ["x:1", "y:1", "x:2"], 20, "the new partition is read"
    )
