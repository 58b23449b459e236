"""The demo's processes: every processor, forked from one that has imported what they need; memory and time of each."""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time
from pathlib import Path

import psutil

from headrace import warm
from headrace.embedded.stack import Stack
from headrace.errors import StackError

WORKERS = ("preprocess-0", "join-0", "infer-0", "infer-1", "retrain-0", "govern-0", "monitor-0")
NEEDED = (
    "headrace.cli.run",
    "headrace.runner.processors",
    "headrace.streams.govern",
    "headrace.streams.infer",
    "headrace.streams.join.processor",
    "headrace.streams.monitor.processor",
    "headrace.streams.preprocess",
    "headrace.streams.retrain",
)
"""What the processors import: once for all of them, and in memory once. Not the pipeline, which calls Polars: a thread
of a pool does not live on in a fork."""
SAMPLE_S = 5.0
COMMIT_MS = "400"
"""Seven processors, a broker and a feed share two cores here: fewer, larger transactions."""


def command_line(words: list[str]) -> None:
    """Run the command line in a child process."""
    sys.argv = ["headrace", *words]
    runpy.run_module("headrace", run_name="__main__", alter_sys=True)


class Processors:
    """Every processor of the pipeline, each a child process that ends with this one."""

    def __init__(self, stack: Stack, pipeline: str, logs: Path) -> None:
        where = {
            "HEADRACE_BOOTSTRAP": stack.bootstrap,
            "HEADRACE_REGISTRY_URL": stack.registry_url,
            "HEADRACE_STATE": str(stack.state),  # where the keys are
            "HEADRACE_MLFLOW_URI": "",
            # Many processes on few cores: one thread each.
            "OMP_NUM_THREADS": "1",
            "POLARS_MAX_THREADS": "1",
        }
        self.children: dict[str, warm.Child | warm.Spawned] = {}
        self._logs = logs
        os.environ.update(where)  # the libraries of the nursery read some of them when they are imported
        warm.warm(*NEEDED)
        for worker in WORKERS:
            run = ["run", worker.split("-")[0], pipeline, "--worker-id", worker, "--commit-ms", COMMIT_MS]
            (logs / f"{worker}.log").unlink(missing_ok=True)
            self.children[worker] = warm.started(command_line, logs / f"{worker}.log", run)

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each worker."""
        return {worker: child.pid for worker, child in self.children.items()}

    def check(self) -> None:
        """Raise StackError, with its last words, when a processor has ended."""
        for worker, child in self.children.items():
            if not child.running():
                said = (self._logs / f"{worker}.log").read_text(errors="replace").strip().splitlines()[-5:]
                how = warm.reason(child.exitcode or 0)
                raise StackError(f"{worker} ended with {how}; its log ends:\n" + "\n".join(said))

    def stop(self) -> None:
        """End them all cleanly."""
        for child in self.children.values():
            child.terminate()
        deadline = time.monotonic() + 10
        for child in self.children.values():
            if not child.wait(max(0.1, deadline - time.monotonic())):
                child.kill()


class MemoryWatch:
    """Samples what each process takes, in a thread: proportional set size where the system tells, else resident."""

    def __init__(self, processes: dict[str, int]) -> None:
        self._processes = processes
        self.peaks: dict[str, int] = {}
        self.cpu: dict[str, float] = {}
        self.peak_together = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            together = 0
            for name, pid in self._processes.items():
                self.cpu[name] = max(self.cpu.get(name, 0.0), _cpu(pid))
                for label, taken in _taken(name, pid):
                    together += taken
                    self.peaks[label] = max(self.peaks.get(label, 0), taken)
            self.peak_together = max(self.peak_together, together)


def _taken(name: str, pid: int) -> list[tuple[str, int]]:
    """Bytes of a process, and of its children under a name of their own (not those of this process itself)."""
    try:
        process = psutil.Process(pid)
        found = [(name, _bytes(process))]
        if pid != os.getpid():
            found += [(f"{name} child", _bytes(child)) for child in process.children(recursive=True)]
    except psutil.Error:
        return []
    return found


def _bytes(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.rss))
    except psutil.Error:
        return 0


def _cpu(pid: int) -> float:
    """Seconds of processor time so far: of this process its own, of another its children's too, ended or not."""
    try:
        process = psutil.Process(pid)
        if pid == os.getpid():
            own = process.cpu_times()
            return float(own.user + own.system)
        family = [p.cpu_times() for p in (process, *process.children(recursive=True))]
    except psutil.Error:
        return 0.0
    ended = ("children_user", "children_system")
    return float(sum(t.user + t.system + sum(getattr(t, name, 0.0) for name in ended) for t in family))
