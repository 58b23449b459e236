"""The processors of a chaos run: each is started again when it dies, as a service manager would."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Sequence

from tests.integration.platform import Platform, stop
from tests.process import Process

LOOK_S = 0.1


class Herd:
    """Worker processes by name.

    Args:
        platform: starts them.
        through: worker -> other bootstrap servers, for those that reach Kafka by another way.
    """

    def __init__(self, platform: Platform, through: dict[str, str]) -> None:
        self._platform = platform
        self._through = through
        self._lock = threading.RLock()
        self._running: dict[str, Process] = {}
        self._restarts = True
        self._done = threading.Event()
        self.deaths: Counter[str] = Counter()
        """Worker -> how often it was found dead and started again."""
        self._thread = threading.Thread(target=self._watch, name="herd", daemon=True)
        self._thread.start()

    def add(self, worker: str, fault: str = "") -> None:
        """Start a worker, and from now on again when it dies."""
        with self._lock:
            self._running[worker] = self._start(worker, fault)

    def remove(self, worker: str) -> None:
        """Ask a worker to end, for good."""
        with self._lock:
            process = self._running.pop(worker)
        stop(process)

    def lose(self, workers: Sequence[str]) -> None:
        """kill -9 of these workers, for good."""
        with self._lock:
            lost = [self._running.pop(worker) for worker in workers]
        for process in lost:
            process.kill()
        for process in lost:
            process.wait(30)

    def kill(self, worker: str) -> None:
        """kill -9; it is started again."""
        self[worker].kill()

    def rearm(self, worker: str, fault: str) -> Process:
        """Kill a worker and start it so that it will die at a step; gives that process."""
        with self._lock:
            self._running[worker].kill()
            self._running[worker].wait()
            self._running[worker] = self._start(worker, fault)
            return self._running[worker]

    def freeze(self, worker: str) -> Process:
        """SIGSTOP; gives the process that now stands still."""
        process = self[worker]
        process.send_signal(signal.SIGSTOP)
        return process

    def replace(self, worker: str) -> None:
        """Start another process under a worker's name; the one before is no longer watched."""
        with self._lock:
            self._running[worker] = self._start(worker)

    def names(self) -> set[str]:
        with self._lock:
            return set(self._running)

    def __getitem__(self, worker: str) -> Process:
        with self._lock:
            return self._running[worker]

    def close(self) -> None:
        """End them all."""
        with self._lock:
            self._restarts = False
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        for process in self._running.values():
            stop(process)
        # Last: on Linux the children that this thread started end with it.
        self._done.set()
        self._thread.join()

    def _start(self, worker: str, fault: str = "") -> Process:
        return self._platform.start(worker, fault, self._through.get(worker, ""))

    def _watch(self) -> None:
        while not self._done.wait(LOOK_S):
            with self._lock:
                dead = [w for w, process in self._running.items() if process.poll() is not None]
                for worker in dead if self._restarts else ():
                    self.deaths[worker] += 1
                    self._running[worker] = self._start(worker)
