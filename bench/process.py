"""A child process under measurement: pinned to its cores, its output in a file, ended by its pid."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import psutil

from bench import cores
from headrace.errors import StackError
from headrace.launch import command

START_S = 60.0
STOP_S = 20.0
POLL_S = 0.01


class Process:
    """A child process that ends with this one, its output in a file.

    Args:
        name: in messages, and of the log file.
        cmd: what to run.
        folder: where the log file goes.
        where: cores it runs on.
        environment: variables beside those of this process.
    """

    def __init__(
        self, name: str, cmd: list[str], folder: Path, where: cores.Cores, environment: dict[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.began = time.perf_counter()
        with cores.on(where), self.log.open("wb") as out:
            self._child = subprocess.Popen(
                command(cmd), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=os.environ | (environment or {})
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def resident(self) -> int:
        """Bytes of memory it holds now."""
        return int(psutil.Process(self._child.pid).memory_info().rss)

    @property
    def processor_s(self) -> float:
        """Seconds of processor time it has taken, user and system."""
        times = psutil.Process(self._child.pid).cpu_times()
        return float(times.user + times.system)

    def check(self) -> None:
        """Raise StackError, with its last words, when it has ended."""
        if self._child.poll() is not None:
            self._fail()

    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace").strip()

    def wait_for(self, word: str) -> None:
        """Wait until it has said ``word``."""
        deadline = time.monotonic() + START_S
        while word not in self.said():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} did not start within {START_S:.0f} s; log: {self.log}")
            time.sleep(POLL_S)

    def finish(self, patience_s: float) -> None:
        """Wait until it has ended by itself, and well."""
        try:
            code = self._child.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise StackError(f"{self.name} did not end within {patience_s:.0f} s; log: {self.log}") from None
        if code:
            self._fail()

    def stop(self) -> None:
        """Ask it to end; kill it where it does not."""
        if self._child.poll() is None:
            self._child.terminate()
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _fail(self) -> NoReturn:
        said = self.said().splitlines()[-12:]
        raise StackError(f"{self.name} ended with code {self._child.returncode}:\n" + "\n".join(said))
