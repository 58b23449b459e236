"""Start, stop and look at the supervisor of a state folder from outside."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import psutil
from rich.console import Console

from headrace.config import running_stack
from headrace.embedded import kafka, registry, search, supervisor
from headrace.embedded.download import install
from headrace.embedded.stack import READY_S, Description
from headrace.embedded.state import StateFolder
from headrace.errors import StackError

STOP_S = 30.0
POLL_S = 0.05
NOTHING: Description = {"kafka": None, "registry": None, "search": None, "supervisor": None, "secure": False}


def status(state: Path) -> Description:
    """The stack that runs in ``state``, or ``NOTHING``, whatever a killed supervisor left written."""
    written = running_stack(state)
    if written is None or not _servers(StateFolder(state), written):
        return NOTHING
    return cast(Description, {**NOTHING, **written})


def up(
    state: Path, *, fresh: bool, principals: Sequence[str] = (), with_search: bool = False, console: Console
) -> Description:
    """Start a stack that goes on after this process; returns when it is ready.

    With ``principals``, Kafka authenticates, and each of them has a password.

    Raises:
        StackError: it did not start (the message is the supervisor's), or one runs and ``fresh`` is asked for,
            or what it was not started with.
        DownloadError: a part is missing and cannot be fetched.
    """
    running = status(state)
    if running["kafka"] is not None:
        if fresh:
            raise StackError(f"a stack runs in {state}: `headrace down` first, then `headrace up --fresh`")
        if principals and not running["secure"]:
            raise StackError(
                f"a stack runs in {state} without authentication: `headrace down` first, then `headrace up --secure`"
            )
        if with_search and running["search"] is None:
            raise StackError(
                f"a stack runs in {state} without a search engine: `headrace down` first, then "
                "`headrace up --with search`"
            )
        console.print(f"a stack already runs in {state}", soft_wrap=True, highlight=False)
        return running
    install(search=with_search, console=console)
    folder = StateFolder(state)
    folder.claim()  # refuses here, before anything is written
    folder.release()
    with folder.supervisor_log.open("wb") as log:
        process = subprocess.Popen(
            supervisor.command(state, fresh=fresh, principals=principals, search=with_search),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    starting = f"starting Kafka{',' if with_search else ' and'} the schema registry"
    starting += " and the search engine" if with_search else ""
    if not console.is_terminal:
        console.print(starting, highlight=False)
    try:
        with console.status(starting):
            return _until_ready(folder, process)
    except BaseException:  # Ctrl-C too: the supervisor stops what it started
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def down(state: Path) -> bool:
    """Stop the stack that runs, or is starting, in ``state``; False where none is.

    Raises:
        StackError: it belongs to a program that is not a supervisor, or does not end.
    """
    folder = StateFolder(state)
    written = running_stack(state)
    processes = _servers(folder, written) if written else []
    owner = folder.owner()
    if owner is None:
        asked = processes
    else:
        asked = [_supervisor(owner, state)]  # it stops its servers itself
        processes += asked
    _signal(asked, signal.SIGTERM)
    if not _gone(folder, processes):
        _signal(processes, signal.SIGKILL)
        if not _gone(folder, processes):
            raise StackError(f"processes {[process.pid for process in processes]} of {state} do not end")
    if folder.path.is_dir():
        folder.unpublish()
    return bool(processes)


def _until_ready(folder: StateFolder, process: subprocess.Popen[bytes]) -> Description:
    deadline = time.monotonic() + 2 * READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = folder.supervisor_log.read_text(errors="replace").strip()
            raise StackError(said or f"the supervisor ended with code {process.returncode} and said nothing")
        running = status(folder.path)
        if running["supervisor"] == process.pid:
            return running
        time.sleep(POLL_S)
    raise StackError(f"the stack was not ready in time; logs: {folder.logs}")


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied as e:
            raise StackError(f"process {process.pid} of the stack belongs to another user") from e


def _supervisor(pid: int, state: Path) -> psutil.Process:
    try:
        process = psutil.Process(pid)
        command = process.cmdline()
    except psutil.Error as e:
        raise StackError(f"process {pid}, which holds {state}, cannot be looked at: try again") from e
    if supervisor.MODULE not in command:
        raise StackError(
            f"the stack in {state} belongs to process {pid} ({' '.join(command)[:80]}): stop that program instead"
        )
    return process


def _servers(folder: StateFolder, written: dict[str, dict[str, int]]) -> list[psutil.Process]:
    """The written processes that live and whose command lines name this folder: the rest is not ours."""
    marks = {
        "kafka": str(kafka.settings_file(folder)),
        "registry": registry.data_url(folder),
        "search": search.home_property(folder),
    }
    found = []
    for name, mark in marks.items():
        try:
            process = psutil.Process(int(written[name]["pid"]))
            if _alive(process) and any(mark in word for word in process.cmdline()):
                found.append(process)
        except (psutil.Error, KeyError, TypeError, ValueError):
            continue
    return found


def _gone(folder: StateFolder, processes: list[psutil.Process]) -> bool:
    deadline = time.monotonic() + STOP_S
    while time.monotonic() < deadline:
        if folder.owner() is None and not any(_alive(process) for process in processes):
            return True
        time.sleep(POLL_S)
    return False


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
