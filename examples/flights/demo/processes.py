"""The demo's processes: every processor as ``headrace run`` would start it, and what each takes of memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from headrace.embedded.stack import Stack
from headrace.errors import StackError
from headrace.launch import command

WORKERS = ("preprocess-0", "join-0", "infer-0", "infer-1", "retrain-0", "govern-0", "monitor-0")
SAMPLE_S = 2.0
COMMIT_MS = "400"
"""Seven processors, a broker and a feed share two cores here: fewer, larger transactions."""


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
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self._logs = logs
        for worker in WORKERS:
            run = ["run", worker.split("-")[0], pipeline, "--worker-id", worker, "--commit-ms", COMMIT_MS]
            with (logs / f"{worker}.log").open("wb") as out:
                self.children[worker] = subprocess.Popen(
                    command([sys.executable, "-m", "headrace", *run]),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=os.environ | where,
                )

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each worker."""
        return {worker: child.pid for worker, child in self.children.items()}

    def check(self) -> None:
        """Raise StackError, with its last words, when a processor has ended."""
        for worker, child in self.children.items():
            if child.poll() is not None:
                said = (self._logs / f"{worker}.log").read_text(errors="replace").strip().splitlines()[-5:]
                raise StackError(f"{worker} ended with code {child.returncode}; its log ends:\n" + "\n".join(said))

    def stop(self) -> None:
        """End them all cleanly."""
        for child in self.children.values():
            child.terminate()
        deadline = time.monotonic() + 10
        for child in self.children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


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
    """Seconds of processor time so far, ended children included."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    children = (getattr(times, "children_user", 0.0), getattr(times, "children_system", 0.0))
    return float(times.user + times.system + (sum(children) if pid != os.getpid() else 0.0))
