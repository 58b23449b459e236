"""Forked workers are what workers started by their command line are: output, exit codes, signals, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.process import Process
from tests.waiting import wait_for
from tests.zygote import FORKS, started

Start = Callable[..., Process]
OWNER = """
import os, sys
from pathlib import Path
from tests.zygote import started
print(started("http.server", ["0"], os.environ, Path(sys.argv[1])).pid, flush=True)
sys.stdin.read()
"""
pytestmark = pytest.mark.slow


@pytest.fixture(params=[True, False], ids=["forked", "launched"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    def begin(module: str, *arguments: str, **environment: str) -> Process:
        return started(module, arguments, os.environ | environment, tmp_path / "out", forked=request.param)

    return begin


def listening(folder: Path) -> None:
    """Wait until the server says that it listens: it is past its imports."""
    out = folder / "out"
    wait_for(lambda: out.exists() and "Serving HTTP" in out.read_text(), 20, "the server to listen")


def test_arguments_output_and_exit_code_are_the_modules(start: Start, tmp_path: Path) -> None:
    assert start("headrace", "--version").wait(60) == 0
    assert start("headrace", "run", "nothing", "none", HEADRACE_STATE=str(tmp_path)).wait(60) == 2
    version, error = (tmp_path / "out").read_text().splitlines()
    assert version.count(".") == 2
    assert error.startswith("headrace: no processor 'nothing'; there are: ")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_that_ends_it_is_its_exit_code(start: Start, tmp_path: Path, how: signal.Signals) -> None:
    process = start("http.server", "0", PYTHONUNBUFFERED="1")
    listening(tmp_path)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(how)
    assert process.wait(20) == process.poll() == -how
    process.kill()  # nothing happens: its end was seen


def test_a_fault_is_armed_by_its_own_environment(start: Start) -> None:
    assert start("tests.passes", HEADRACE_FAULT="after_begin:2").wait(60) == -signal.SIGKILL
    assert start("tests.passes", HEADRACE_FAULT="after_write:2").wait(60) == 0


@pytest.mark.skipif(not FORKS, reason="nothing is forked here")
def test_a_forked_worker_ends_with_the_test_process_however_that_ends(tmp_path: Path) -> None:
    cmd = [sys.executable, "-c", OWNER, str(tmp_path / "out")]
    with subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        worker = psutil.Process(int(owner.stdout.readline()))
        zygote = worker.parent()
        assert zygote is not None
        assert worker.is_running()
        owner.kill()
    wait_for(lambda: not any(map(lives, (worker, zygote))), 20, "the end of both")


def lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
