"""Workers by fork, from the process that :mod:`headrace.warm` keeps: it has imported what workers import.

A worker started from nothing imports for two to three seconds of processor time before it does anything, one started
here for a hundredth of that. It takes the environment, the arguments and the output of a worker and then runs its
module as ``python -m`` does. What differs from a process of its own: the libraries' code is there already, and the
seed of ``hash()`` is the warm process's.
"""

from __future__ import annotations

import importlib
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from headrace import warm
from headrace.launch import command
from tests.process import Process

FORKS = warm.FORKS
NEEDED = (
    "headrace.cli.run",
    "headrace.jobs.inside",
    "headrace.runner.processors",
    "headrace.streams.govern",
    "headrace.streams.join.processor",
    "headrace.streams.monitor.processor",
    "headrace.streams.preprocess",
    "headrace.streams.retrain",
    "onnx",
)
"""What workers import."""


class Forked:
    """A worker that was forked off, as :class:`tests.process.Process`."""

    def __init__(self, child: warm.Child | warm.Spawned) -> None:
        self._child = child
        self.pid = child.pid

    def poll(self) -> int | None:
        return None if self._child.running() else self._child.exitcode

    def wait(self, timeout: float | None = None) -> int:
        if not self._child.wait(timeout):
            raise subprocess.TimeoutExpired(f"forked worker {self.pid}", timeout or 0)
        code = self._child.exitcode
        assert code is not None
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ends now
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def started(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], output: Path, *, forked: bool = True
) -> Process:
    """Run ``python -m module`` with arguments, all of its output at the end of a file: forked where the system can do
    that, else by its command line. It ends with this process."""
    output.touch()  # whoever looks for it at once finds it, as if opened here
    if forked and FORKS:
        warm.warm(*NEEDED)
        return Forked(warm.started(work, output, module, list(arguments), dict(environment), str(Path.cwd())))
    with output.open("ab") as out:
        return subprocess.Popen(
            command([sys.executable, "-m", module, *arguments]), env=environment, stdout=out, stderr=out
        )


def work(module: str, arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """Be a worker with this environment, in this folder."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # it follows TMPDIR
    importlib.reload(importlib.import_module("headrace.kafka.faults"))  # it has read its variable
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
