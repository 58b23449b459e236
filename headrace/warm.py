"""Child processes that begin at once: forked from a process that has imported what they need, and nothing else.

That process, the nursery, holds no Kafka client, no session and no thread, so that a fork of it is safe. There is one
for each process that asks. Elsewhere than on Linux, where libraries of the system forbid a fork, a child is started
from nothing and imports what it needs. (Python's own fork server would run a user's script again in each child.)

``python -m headrace.warm FD MODULE...`` is the nursery: orders come through a socket, a line of JSON each; when that
closes it ends, and its children with it. ``python -m headrace.warm`` carries out the one order on its standard input.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from headrace.launch import PR_SET_PDEATHSIG, command

FORKS = sys.platform == "linux"
_lock = threading.Lock()
_nursery: _Nursery | None = None


class Child:
    """A child process that was forked off.

    Attributes:
        pid: its process id.
        exitcode: how it ended, as of the last :meth:`running`; negative: the signal; None while it runs.
    """

    def __init__(self, nursery: _Nursery, pid: int) -> None:
        self.pid = pid
        self.exitcode: int | None = None
        self._nursery = nursery
        self._end = os.pidfd_open(pid)  # readable when it has ended

    def running(self) -> bool:
        """Whether it still runs."""
        if self.exitcode is None:
            try:
                self.exitcode = self._nursery.code(self.pid)
            except OSError:
                self.exitcode = -signal.SIGKILL  # the nursery has ended, and its children with it
            if self.exitcode is not None:
                os.close(self._end)
        return self.exitcode is None

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it ends, or so long; whether it has ended."""
        if self.exitcode is None:
            end = select.poll()
            end.register(self._end, select.POLLIN)
            end.poll(None if seconds is None else seconds * 1000)
        return not self.running()

    def terminate(self) -> None:
        """Ask it to end (SIGTERM), if it still runs."""
        if self.running():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it now, if it still runs, and wait for that."""
        if self.running():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.wait()


class Spawned:
    """A child process started from nothing; as :class:`Child`."""

    def __init__(self, order: dict[str, Any]) -> None:
        cmd = command([sys.executable, "-m", __spec__.name])
        self._process = subprocess.Popen(cmd, stdin=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # how it ended tells more
            self._process.stdin.write(json.dumps(order))
            self._process.stdin.close()

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, seconds: float | None = None) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return not self.running()

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def warm(*modules: str) -> None:
    """Have the nursery running; these modules are imported where it was not running before."""
    if FORKS:
        _running(modules)


def started(work: Callable[..., None], output: Path, *args: Any) -> Child | Spawned:
    """A child process that calls ``work(*args)`` and ends with this process, however that ends.

    Args:
        work: a function at the top of a module. What it raises ends the child with code 1, ``SystemExit`` with its.
        output: file at whose end all goes that the child writes to its standard output and error.
        args: of ``work``, as JSON takes them. They go through a pipe: no process list shows them.

    Raises:
        OSError: there is no process to be had.
    """
    order = {"module": work.__module__, "function": work.__qualname__, "args": list(args), "output": str(output)}
    if not FORKS:
        return Spawned(order)
    nursery = _running(())
    return Child(nursery, nursery.start(order))


def reason(code: int) -> str:
    """How a process ended, from its exit code."""
    return f"signal {-code}" if code < 0 else f"code {code}"


class _Nursery:
    """Our end of the process that forks."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            cmd = [sys.executable, "-m", __spec__.name, str(theirs.fileno()), *modules]
            self._process = subprocess.Popen(cmd, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self._asking = threading.Lock()

    def start(self, order: dict[str, Any]) -> int:
        return int(self._ask(order)["pid"])

    def code(self, pid: int) -> int | None:
        code: int | None = self._ask({"code of": pid})["code"]
        return code

    def alive(self) -> bool:
        return self._process.poll() is None

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        with self._asking:
            line = ""
            with suppress(ConnectionError):
                print(json.dumps(order), file=self._lines, flush=True)
                line = self._lines.readline()
        if not line:
            raise OSError(f"the process that forks children has ended ({reason(self._process.wait())})")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise OSError(answer["error"])
        return answer


def _running(modules: tuple[str, ...]) -> _Nursery:
    global _nursery
    with _lock:
        if _nursery is None or not _nursery.alive():
            _nursery = _Nursery(modules)
        return _nursery


def _serve(orders: socket.socket) -> None:
    """Fork and tell of ends until the socket closes."""
    lines = orders.makefile("rw", encoding="utf-8")
    codes: dict[int, int] = {}
    for line in lines:
        order = json.loads(line)
        if pid := order.get("code of"):
            if pid not in codes:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    codes[pid] = os.waitstatus_to_exitcode(status)
            answer: dict[str, Any] = {"code": codes.get(pid)}
        else:
            nursery = os.getpid()
            try:
                pid = os.fork()
            except OSError as e:
                answer = {"error": f"no process can be started: {e.strerror}"}
            else:
                if pid == 0:
                    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                    if os.getppid() != nursery:  # it ended before the kernel was told
                        os._exit(1)
                    os.close(orders.detach())
                    _carry_out(order)
                answer = {"pid": pid}
        print(json.dumps(answer), file=lines, flush=True)


def _carry_out(order: dict[str, Any]) -> NoReturn:
    """Be the child: do what is asked, and end at once: nothing of the nursery's is to be tidied up."""
    code = 1
    try:
        out = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(out, stream)
        getattr(importlib.import_module(order["module"]), order["function"])(*order["args"])
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:  # noqa: BLE001 - the child ends here
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """See the module."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for who asked; we end with that
    if len(sys.argv) == 1:
        _carry_out(json.loads(sys.stdin.read()))
    for module in sys.argv[2:]:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # pages that the collector does not touch stay shared with the children
    _serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
