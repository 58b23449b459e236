"""The embedded stack with its real servers: it starts, keeps its data, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from headrace import launch
from headrace.config import Settings
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.errors import StackError
from tests.disk import Disk, may_mount
from tests.waiting import wait_for

STRING = Schema('"string"', "AVRO")
CLI = "from headrace.cli import main; main()"
OWNER = """
import json, sys, time
from pathlib import Path
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
with Stack(Path(sys.argv[1])) as stack:
    print(json.dumps(stack.describe()), flush=True)
    sys.stdin.read()
"""


def until(condition: Callable[[], bool], what: str, deadline_s: float = 20) -> None:
    wait_for(condition, deadline_s, what)


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def pids(description: Any) -> list[int]:
    return [description["kafka"]["pid"], description["registry"]["pid"]]


def topics(bootstrap: str) -> set[str]:
    return set(AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).topics)


def add_topic(bootstrap: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(10)
    until(lambda: name in topics(bootstrap), f"topic {name}")


def subjects(url: str) -> list[str]:
    return SchemaRegistryClient({"url": url}).get_subjects()


def headrace(*args: str, state: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CLI, *args, "--state", str(state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack") / "state") as stack:
        yield stack


def test_a_started_stack_is_found_by_settings(stack: Stack) -> None:
    settings = Settings(state=stack.state).located()
    assert (settings.bootstrap, settings.registry_url) == (stack.bootstrap, stack.registry_url)


def test_both_servers_listen_on_the_loopback_only(stack: Stack) -> None:
    listening = {
        connection.laddr.ip
        for pid in pids(stack.describe())
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_a_second_stack_in_the_same_folder_is_refused(stack: Stack) -> None:
    with pytest.raises(StackError) as caught:
        Stack(stack.state).start()
    assert str(caught.value) == (
        f"a stack already runs in {stack.state} (process {os.getpid()}): stop it with `headrace down`, "
        "or name another folder with --state"
    )
    refused = headrace("down", state=stack.state)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"headrace: the stack in {stack.state} belongs to process {os.getpid()} (")
    stack.check()


def test_schemas_must_stay_compatible(stack: Stack) -> None:
    registry = SchemaRegistryClient({"url": stack.registry_url})
    registry.register_schema("compatible", STRING)
    assert registry.test_compatibility("compatible", Schema('"int"', "AVRO")) is False
    registry.delete_subject("compatible")


def test_topics_and_schemas_outlive_a_restart_at_the_same_addresses(stack: Stack) -> None:
    addresses = (stack.bootstrap, stack.registry_url)
    add_topic(stack.bootstrap, "kept")
    SchemaRegistryClient({"url": stack.registry_url}).register_schema("kept", STRING)
    before = pids(stack.describe())
    stack.stop()
    assert [pid for pid in before if alive(pid)] == []
    assert not (stack.state / "stack.json").exists()
    stack.start()
    assert (stack.bootstrap, stack.registry_url) == addresses
    assert topics(stack.bootstrap) == {"kept"}
    assert subjects(stack.registry_url) == ["kept"]


def test_a_killed_broker_comes_back_with_its_data_at_the_same_address(stack: Stack) -> None:
    bootstrap = stack.bootstrap
    add_topic(bootstrap, "survivor")
    before = topics(bootstrap)
    stack.kill_broker()
    with pytest.raises(StackError, match=r"^Kafka ended with code -9: see the end of its log\n.*kafka\.log:\n"):
        stack.check()
    stack.restart_broker()
    assert stack.bootstrap == bootstrap
    assert topics(bootstrap) == before
    assert json.loads((stack.state / "stack.json").read_text()) == stack.describe()


def test_the_registry_can_be_away_while_kafka_goes_on(stack: Stack) -> None:
    url, before, kept = stack.registry_url, subjects(stack.registry_url), topics(stack.bootstrap)
    stack.stop_registry()
    with pytest.raises(httpx2.ConnectError, match="refused"):
        subjects(url)
    assert topics(stack.bootstrap) == kept
    stack.start_registry()
    assert stack.registry_url == url
    assert subjects(url) == before


def test_two_stacks_run_side_by_side_and_fresh_wipes_only_its_own(stack: Stack, tmp_path: Path) -> None:
    before = topics(stack.bootstrap)
    with Stack(tmp_path / "other", registry=False) as other:
        add_topic(other.bootstrap, "other")
        assert topics(other.bootstrap) == {"other"}
        assert topics(stack.bootstrap) == before
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with Stack(tmp_path / "other", fresh=True, registry=False) as other:
        assert topics(other.bootstrap) == set()
        assert (tmp_path / "other" / "notes.txt").read_text() == "mine"


def test_a_folder_of_someone_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(StackError) as caught:
        Stack(tmp_path, fresh=True).start()
    assert str(caught.value) == (
        f"{tmp_path} is not empty and was not made by headrace: name another folder with --state"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError) as caught:
        Stack(tmp_path / "file").start()
    assert str(caught.value) == (
        f"the state folder {tmp_path / 'file'} cannot be used: Not a directory. Name another with --state"
    )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of its own, as state folder."""
    if not may_mount():
        pytest.skip("no file system may be mounted here")
    made = Disk(tmp_path / "state", 1024)
    yield made
    made.close()


def test_a_read_only_state_folder_is_one_clear_line_and_mended_by_making_it_writable(disk: Disk) -> None:
    for used_before in (False, True):
        disk.read_only()
        refused = headrace("up", "--json", state=disk.folder)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1] == (
            f"headrace: the state folder {disk.folder} cannot be used: Read-only file system. Name another with --state"
        )
        disk.writable()
        if used_before:
            break
        assert headrace("up", "--json", state=disk.folder).returncode == 0
        assert headrace("down", state=disk.folder).returncode == 0


def test_a_broker_whose_disk_fills_ends_with_a_hint_and_comes_back_with_its_data(disk: Disk) -> None:
    with Stack(disk.folder, registry=False, layout=Layout(quick=True)) as stack:
        admin = AdminClient({"bootstrap.servers": stack.bootstrap})
        admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(10)
        producer = Producer({"bootstrap.servers": stack.bootstrap, "enable.idempotence": True, "log_level": 0})
        producer.produce("kept", b"before")
        assert producer.flush(20) == 0
        disk.fill()
        producer.produce("kept", b"into a full disk" * 1000)
        until(lambda: producer.poll(0.1) >= 0 and not stack.broker_pids, "the broker gives up", 60)
        with pytest.raises(StackError, match=r"^Kafka ended with code 1: .*is the disk full\?"):
            stack.check()
        disk.free()
        stack.restart_broker()
        assert producer.flush(60) == 0
        reader = Consumer({"bootstrap.servers": stack.bootstrap, "group.id": "r", "auto.offset.reset": "earliest"})
        reader.subscribe(["kept"])
        found: list[bytes | None] = []

        def both() -> bool:
            found.extend(m.value() for m in reader.consume(9, 0.5))
            return len(found) >= 2

        until(both, "both records", 60)
        reader.close()
    assert found == [b"before", b"into a full disk" * 1000]


def test_a_failed_start_quotes_the_log_and_leaves_nothing_running(tmp_path: Path) -> None:
    mine = psutil.Process()
    before = {child.pid for child in mine.children(recursive=True)}
    with pytest.raises(StackError, match=r"(?s)^Kafka ended with code 1: .*\n.*kafka\.log:\n.*heap"):
        Stack(tmp_path / "state", layout=Layout(heap_mb=1)).start()
    assert {child.pid for child in mine.children(recursive=True)} == before
    assert not (tmp_path / "state" / "stack.json").exists()


def test_killing_the_parent_leaves_nothing_running(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path / "state")]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    servers = pids(json.loads(owner.stdout.readline()))
    assert [alive(pid) for pid in servers] == [True, True]
    owner.kill()
    owner.communicate()
    until(lambda: not any(alive(pid) for pid in servers), "servers end with their parent")


def test_where_the_kernel_does_not_help_the_launcher_watches_its_parent(tmp_path: Path) -> None:
    ready = tmp_path / "pid"
    child = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(99)"
    watch = (
        "import os, sys; from headrace import launch; launch.watch(os.getppid(), [sys.executable, '-c', *sys.argv[1:]])"
    )
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    process = subprocess.Popen([sys.executable, "-c", parent, watch, child, str(ready)])
    until(ready.exists, "the child runs")
    launcher, started = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    until(lambda: not alive(started.pid) and not alive(launcher.pid), "the child ends with its grandparent")


def test_a_command_is_not_started_for_a_parent_that_is_gone(tmp_path: Path) -> None:
    gone = launch.command(["touch", str(tmp_path / "started")])
    gone[gone.index(str(os.getpid()))] = "1"
    assert subprocess.run(gone).returncode == 1
    assert list(tmp_path.iterdir()) == []


NOTHING = {"kafka": None, "registry": None, "search": None, "supervisor": None, "secure": False}


def test_up_status_down(tmp_path: Path) -> None:
    state = tmp_path / "state"
    none = headrace("status", "--json", state=state)
    assert (json.loads(none.stdout), none.returncode) == ({**NOTHING, "supervised": []}, 1)
    assert headrace("status", state=state).returncode == 1
    assert headrace("down", state=state).stdout == f"no stack runs in {state}\n"
    assert not state.exists()

    up = headrace("up", "--json", state=state)
    assert up.returncode == 0, up.stderr
    running = json.loads(up.stdout)
    assert running["search"] is None
    assert {key: set(running[key]) for key in running.keys() - {"supervisor", "secure", "search"}} == {
        "kafka": {"bootstrap", "pid", "log"},
        "registry": {"url", "pid", "log"},
    }
    status = headrace("status", "--json", state=state)
    assert (json.loads(status.stdout), status.returncode) == ({**running, "supervised": []}, 0)
    again = headrace("up", "--json", state=state)
    assert (json.loads(again.stdout), again.returncode) == (running, 0)
    fresh = headrace("up", "--fresh", state=state)
    assert fresh.returncode == 1
    assert fresh.stderr == f"headrace: a stack runs in {state}: `headrace down` first, then `headrace up --fresh`\n"

    down = headrace("down", state=state)
    assert (down.stdout, down.returncode) == (f"the stack in {state} is stopped\n", 0)
    assert [pid for pid in [*pids(running), running["supervisor"]] if alive(pid)] == []
    assert headrace("status", "--json", state=state).returncode == 1


def test_a_killed_supervisor_takes_its_servers_along(tmp_path: Path) -> None:
    state = tmp_path / "state"
    running = json.loads(headrace("up", "--json", state=state).stdout)
    os.kill(running["supervisor"], signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids(running)), "servers end with their supervisor")
    assert json.loads(headrace("status", "--json", state=state).stdout) == {**NOTHING, "supervised": []}
    assert headrace("down", state=state).stdout == f"no stack runs in {state}\n"
    assert not (state / "stack.json").exists()


def test_a_server_that_dies_stops_the_stack_and_the_log_says_why(tmp_path: Path) -> None:
    state = tmp_path / "state"
    running = json.loads(headrace("up", "--json", state=state).stdout)
    os.kill(running["registry"]["pid"], signal.SIGKILL)
    until(lambda: not alive(running["supervisor"]) and not alive(running["kafka"]["pid"]), "the rest stops")
    said = (state / "logs" / "supervisor.log").read_text().splitlines()
    assert said[1] == "the schema registry ended with code -9: see the end of its log"
    assert said[2] == f"{running['registry']['log']}:"
    assert not (state / "stack.json").exists()


def test_ctrl_c_during_up_stops_everything(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-c", CLI, "up", "--state", str(state)]
    up = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)

    def started() -> list[Any]:
        return list(psutil.Process(up.pid).children(recursive=True))

    until((state / "logs" / "kafka.log").exists, "Kafka begins to start")
    until(lambda: len(started()) == 3, "the supervisor and both servers run")
    processes = started()
    os.kill(up.pid, signal.SIGINT)
    up.communicate(timeout=30)
    assert up.returncode != 0
    assert [process.pid for process in processes if alive(process.pid)] == []
