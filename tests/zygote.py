"""Workers by fork: one process has imported what workers import, and each worker is a copy of it.

A worker started from nothing imports for two to three seconds of processor time before it does anything, one started
here for a hundredth of that. The zygote only imports: it has no Kafka client, no session and no pool of threads when it
forks. A copy takes the environment, the arguments and the output of a worker and then runs its module as
``python -m`` does. What differs from a process of its own: the libraries' code is there already, and the seed of
``hash()`` is the zygote's.

``python -m tests.zygote FD``: orders, one line of JSON each, come through a socket; when that closes, it ends, and
its copies with it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from headrace.launch import PR_SET_PDEATHSIG, command
from tests.process import Process

FORKS = sys.platform == "linux"
"""Whether workers are forked here: elsewhere libraries of the system forbid it, and nothing ends an orphan."""
BEFORE = (
    "headrace.cli.run",
    "headrace.jobs.inside",
    "headrace.runner.processors",
    "headrace.streams.govern",
    "headrace.streams.join.processor",
    "headrace.streams.preprocess",
    "headrace.streams.retrain",
    "onnx",
)
"""What workers import; not onnxruntime: it starts a thread for which a copy without it waits at its end for ever."""
AS_NEEDED = {"monitor": "headrace.streams.monitor.processor", "forward": "headrace.consumers.forward.processor"}
"""Word among a worker's arguments -> what to import before the first such worker."""


class Forked:
    """A worker that was forked off: see :class:`tests.process.Process`."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._zygote = zygote
        self._end = os.pidfd_open(pid)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._zygote.code(self.pid)
            if self.returncode is not None:
                os.close(self._end)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            end = select.poll()
            end.register(self._end, select.POLLIN)
            if not end.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(f"forked worker {self.pid}", timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Zygote:
    """The process that workers are forked from. It ends with this one, and its workers with it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            cmd = [sys.executable, "-m", "tests.zygote", str(theirs.fileno())]
            self._process = subprocess.Popen(cmd, pass_fds=[theirs.fileno()])
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self._lock = threading.Lock()

    def start(self, module: str, arguments: Sequence[str], environment: Mapping[str, str], output: Path) -> Forked:
        """Run ``python -m module`` with arguments, all of its output at the end of a file."""
        order = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(environment),
            "output": str(output),
            "folder": str(Path.cwd()),
        }
        return Forked(self, self._ask(order)["pid"])

    def code(self, pid: int) -> int | None:
        """The exit code of a worker; None while it runs."""
        code: int | None = self._ask({"code of": pid})["code"]
        return code

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            print(json.dumps(order), file=self._lines, flush=True)
            answer: dict[str, Any] = json.loads(self._lines.readline())
        return answer


@cache
def zygote() -> Zygote:
    """The zygote of this process, started when it is first asked for."""
    return Zygote()


def started(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], output: Path, *, forked: bool = True
) -> Process:
    """Run ``python -m module`` with arguments, all of its output at the end of a file: forked where the system can do
    that, else by its command line. It ends with this process."""
    output.touch()  # whoever looks for it at once finds it, as if opened here
    if forked and FORKS:
        return zygote().start(module, arguments, environment, output)
    with output.open("ab") as out:
        return subprocess.Popen(
            command([sys.executable, "-m", module, *arguments]), env=environment, stdout=out, stderr=out
        )


def serve(orders: socket.socket) -> dict[str, Any]:
    """Fork and tell of ends until the socket closes; comes back in each copy, with its order."""
    lines = orders.makefile("rw", encoding="utf-8")
    codes: dict[int, int] = {}
    for line in lines:
        order = json.loads(line)
        if pid := order.get("code of"):
            if pid not in codes and (status := os.waitpid(pid, os.WNOHANG)) != (0, 0):
                codes[pid] = os.waitstatus_to_exitcode(status[1])
            answer = {"code": codes.get(pid)}
        else:
            for word in AS_NEEDED.keys() & set(order["arguments"]):
                importlib.import_module(AS_NEEDED[word])
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                become(order, parent)
                lines.detach()
                orders.close()
                return dict(order)
            answer = {"pid": pid}
        print(json.dumps(answer), file=lines, flush=True)
    os._exit(0)


def become(order: dict[str, Any], parent: int) -> None:
    """Take a worker's environment, arguments and output; killed when ``parent`` ends, as it would be if launched."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None  # it follows TMPDIR
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    sys.argv = [order["module"], *order["arguments"]]
    importlib.reload(importlib.import_module("headrace.kafka.faults"))  # it has read its variable


def main() -> NoReturn:
    """``python -m tests.zygote FD``"""
    for module in BEFORE:
        importlib.import_module(module)
    assert "onnxruntime" not in sys.modules
    gc.freeze()  # a collection in a copy would write to, and so copy, all that is shared
    order = serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
