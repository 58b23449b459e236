"""Several workers of one command: a port and a name for each; and processors that run alone refuse company."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest
from typer.testing import CliRunner

from headrace import cli
from headrace.config import Settings
from headrace.errors import ConfigError, Unavailable
from headrace.kafka.log import TopicPartition
from headrace.kafka.memory import MemoryLog
from headrace.runner import alone
from headrace.runner.alone import kept_alone, wait_until_alone
from headrace.runner.ports import ports_of
from headrace.runner.supervisor import supervisor
from headrace.worker.service import serve_status
from tests.waiting import wait_for

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize("before", [0, 1])
def test_a_port_that_is_taken_is_named_with_the_option_before_anything_starts(taken: int, before: int) -> None:
    first = taken - before
    of = f" for {before + 1} workers" if before else ""
    with pytest.raises(ConfigError) as caught:
        ports_of(HOST, first, before + 1)
    assert (
        str(caught.value) == f"--port {first}{of}: port {taken} of {HOST}: Address already in use; give another --port"
    )


def test_each_worker_gets_the_next_port_or_any_free_one() -> None:
    assert ports_of(HOST, 0, 3) == [0, 0, 0]
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    assert ports_of(HOST, port, 1) == [port]
    with pytest.raises(ConfigError, match=r"^--port 65535: 2 workers need ports up to 65536, and the last is 65535$"):
        ports_of(HOST, 65_535, 2)
    with pytest.raises(ConfigError, match=r"^--port 19464: port 19464 of nowhere\.invalid: .+; give another --port$"):
        ports_of("nowhere.invalid", 19_464, 1)


@pytest.mark.parametrize(
    "line", ["run preprocess shop.py:shop", "run preprocess shop.py:shop --workers 2", "run all shop.py:shop"]
)
def test_every_way_to_run_refuses_a_port_that_is_taken(taken: int, line: str) -> None:
    done = CliRunner().invoke(cli.app, [*line.split(), "--port", str(taken)])
    assert isinstance(done.exception, ConfigError)
    assert f"port {taken} of {HOST}: Address already in use" in str(done.exception)


def test_a_port_that_was_taken_in_the_meantime_is_named_too(taken: int) -> None:
    class Loop:
        status, figures = None, ()

    with pytest.raises(
        ConfigError, match=rf"^port {taken} of {HOST}, for /health and /metrics: Address already in use"
    ):
        serve_status(Loop(), {}, HOST, taken)  # type: ignore[arg-type]


def arguments(option: str, workers: dict[str, int], ports: Sequence[int] = ()) -> list[str]:
    """What each worker of a supervisor is given for an option."""
    made = supervisor("shop", Settings(bootstrap="h:1", registry_url="http://h:1"), workers, ["--host", HOST], ports)
    lines = [w._argv for w in made._workers]
    return [line[list(line).index(option) + 1] for line in lines]


def test_every_worker_of_a_command_has_a_port_of_its_own() -> None:
    assert arguments("--port", {"preprocess": 2, "infer": 1}, [19_464, 19_465, 19_466]) == ["19464", "19465", "19466"]
    assert arguments("--port", {"preprocess": 2}) == ["0", "0"]


def test_the_same_command_on_two_hosts_gives_names_that_all_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    for host, pid in (("one", 7), ("two", 7), ("two", 8)):
        monkeypatch.setattr(socket, "gethostname", lambda host=host: host)
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        names += arguments("--worker-id", {"preprocess": 2})
    assert names == [f"preprocess-{i}-{at}" for at in ("one-7", "two-7", "two-8") for i in (0, 1)]


class Member:
    """A member of a group, as far as the group knows it."""

    def __init__(self, log: MemoryLog, name: str) -> None:
        log.create_topics({"t": (1, {})})
        self._reader = log.group("shop.monitor", ["t"], name, self)

    def close(self) -> None:
        self._reader.close()

    def on_assigned(self, tps: Sequence[TopicPartition]) -> None:
        pass

    on_revoked = on_lost = on_assigned


STOPS = (
    "^old runs already as a member of group shop.monitor, which takes one worker, for its state spans the partitions: "
    "stop that one first$"
)


def test_a_newcomer_stops_after_a_while_and_names_who_is_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alone, "LEAVES_S", 0.05)
    monkeypatch.setattr(alone, "LOOK_S", 0.01)
    log = MemoryLog()
    Member(log, "old")
    with pytest.raises(ConfigError, match=STOPS):
        wait_until_alone(log, "shop.monitor", "new")
    assert caplog.messages == [
        "old is a member of group shop.monitor, which takes one worker: waiting up to 0.05 s for it to leave"
    ]


def test_a_newcomer_starts_when_the_old_one_has_left_as_in_a_rolling_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "LOOK_S", 0.01)
    log = MemoryLog()
    old = Member(log, "old")
    starting = threading.Thread(target=wait_until_alone, args=(log, "shop.monitor", "new"), daemon=True)
    starting.start()
    old.close()
    starting.join(30)
    assert not starting.is_alive()


def test_a_worker_that_comes_back_under_its_name_does_not_wait_for_itself() -> None:
    log = MemoryLog()
    Member(log, "new")
    wait_until_alone(log, "shop.monitor", "new")


class Loop:
    def __init__(self) -> None:
        self.stopped = threading.Event()

    def stop(self) -> None:
        self.stopped.set()


def test_of_two_that_started_in_the_same_moment_the_first_by_name_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "WATCH_S", 0.01)
    log = MemoryLog()
    loops = {name: Loop() for name in ("new", "old")}
    for name in loops:
        Member(log, name)
    with kept_alone(log, "shop.monitor", "new", loops["new"]):
        said = "^new runs already as a member of group shop.monitor"
        with pytest.raises(ConfigError, match=said), kept_alone(log, "shop.monitor", "old", loops["old"]):
            assert loops["old"].stopped.wait(30)
    assert not loops["new"].stopped.is_set()


def test_a_worker_whose_kafka_is_away_keeps_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "WATCH_S", 0.01)
    log, loop, asked = MemoryLog(), Loop(), 0

    def members(group: str) -> set[str]:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise Unavailable("away")
        return {"aa"}

    monkeypatch.setattr(log, "members", members)
    with pytest.raises(ConfigError, match=r"^aa runs already"), kept_alone(log, "g", "b", loop):
        wait_for(loop.stopped.is_set, 30, "the watch to see the other")
