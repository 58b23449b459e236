"""Workers under one supervisor: one log for all, and each is started again where it ends, after a growing pause."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

from headrace import warm
from headrace.config import RUN, Settings
from headrace.errors import ConfigError
from headrace.folders import private_folder
from headrace.launch import command
from headrace.runner.processors import PROCESSORS, processor_spec

log = logging.getLogger("headrace.supervisor")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
STEADY_S = 60.0
"""A worker that has run for so long begins again with the shortest pause."""
STOP_S = 30.0
TURN_S = 0.2


@dataclass
class WorkerState:
    """What is known of one worker process.

    Attributes:
        processor: what it runs.
        state: ``running``, or ``waiting`` for its next start.
        pid: process id of the last start; None before the first.
        since: seconds since the epoch at which the state began.
        restarts: how often it was started again.
        exit_code: of its last end; negative: the signal; None where it never ended.
        said: the last line that it wrote before it ended.
        health: URL of its /health; empty until it serves one.
    """

    processor: str
    state: str = "waiting"
    pid: int | None = None
    since: float = field(default_factory=time.time)
    restarts: int = 0
    exit_code: int | None = None
    said: str = ""
    health: str = ""


class Worker:
    """One worker process, started again and again.

    Args:
        name: how the log and the status name it.
        processor: what it runs.
        argv: the command.
        environment: variables beside our own.
        log: where its lines go.
    """

    def __init__(
        self, name: str, processor: str, argv: Sequence[str], environment: Mapping[str, str], log: Log
    ) -> None:
        self.name = name
        self.state = WorkerState(processor)
        self._argv = argv
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._pause = FIRST_PAUSE_S
        self._next_start = 0.0

    def turn(self) -> None:
        """Start it where it is due, take note where it has ended."""
        if self._process is None:
            if time.monotonic() >= self._next_start:
                self._start()
        elif (code := self._process.poll()) is not None:
            self._ended(code)

    def terminate(self) -> None:
        """Ask it to stop."""
        if self._process is not None:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended; kill it after ``seconds``."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader is not None:
            self._reader.join(5)

    def _start(self) -> None:
        # From the main thread, which lives as long as we do: on Linux a child ends with the thread that started it.
        self._process = subprocess.Popen(
            command([*self._argv]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **self._environment},
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        self.state.state, self.state.pid, self.state.since = "running", self._process.pid, time.time()

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            text = line.rstrip("\n")
            if not text:
                continue
            self.state.said = self._log.line(self.name, text) or self.state.said
            if "serving /health" in self.state.said:
                self.state.health = self.state.said.rsplit(" ", 1)[-1] + "/health"

    def _ended(self, code: int) -> None:
        if self._reader is not None:
            self._reader.join(5)
        if time.time() - self.state.since > STEADY_S:
            self._pause = FIRST_PAUSE_S
        self._process = None
        self._next_start = time.monotonic() + self._pause
        self._log.line(self.name, f"ended with {warm.reason(code)}; it is started again in {self._pause:g} s")
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
        self.state.state, self.state.since, self.state.exit_code = "waiting", time.time(), code
        self.state.restarts += 1
        self.state.health = ""


class Log:
    """Lines of every worker on standard error: for people where that is a terminal, else one JSON object a line."""

    def __init__(self, out: IO[str], people: bool) -> None:
        self._out = out
        self._people = people
        self._lock = threading.Lock()

    def line(self, worker: str, text: str) -> str:
        """Write one line of a worker; gives its message alone."""
        told = _parsed(text) or {"time": time.strftime("%Y-%m-%d %H:%M:%S"), "level": "INFO", "message": text}
        message = str(told.get("message", text))
        shown = json.dumps({**told, "worker": worker})
        if self._people:
            level = "" if told.get("level") == "INFO" else f"{told.get('level')} "
            shown = f"{str(told.get('time', ''))[11:19]}  {worker:<14} {level}{message}"
            if "exc_info" in told:
                shown += f"\n{told['exc_info']}"
        with self._lock:
            self._out.write(shown + "\n")
            self._out.flush()
        return message


class Supervisor:
    """Runs workers until it is stopped.

    Args:
        pipeline: what they work on, for the status file.
        workers: to run.
        file: where it says how they are.
    """

    def __init__(self, pipeline: str, workers: Sequence[Worker], file: Path) -> None:
        self._pipeline = pipeline
        self._workers = workers
        self._file = file
        self._published = ""
        self._stopping = False

    def run(self) -> None:
        """Run until SIGTERM or Ctrl-C; then every worker finishes or gives up its open transaction."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        private_folder(self._file.parent)
        try:
            while not self._stopping:
                for worker in self._workers:
                    worker.turn()
                self._publish()
                time.sleep(TURN_S)
        finally:
            for worker in self._workers:
                worker.terminate()
            deadline = time.monotonic() + STOP_S
            for worker in self._workers:
                worker.wait(max(0.1, deadline - time.monotonic()))
            self._file.unlink(missing_ok=True)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True  # nothing here may wait: a signal can come while another is handled

    def _publish(self) -> None:
        told = {
            "pipeline": self._pipeline,
            "pid": os.getpid(),
            "workers": {worker.name: asdict(worker.state) for worker in self._workers},
        }
        text = json.dumps(told)
        if text == self._published:
            return
        self._published = text
        new = self._file.with_suffix(".new")
        try:
            new.write_text(text)
            new.replace(self._file)
        except OSError as e:  # the workers go on: what cannot be written is only how they are
            log.warning(
                "%s cannot be written (%s): headrace status will not show these workers", self._file, e.strerror
            )


def supervisor(
    pipeline: str,
    settings: Settings,
    workers: Mapping[str, int],
    options: Sequence[str] = (),
    ports: Sequence[int] = (),
    out: IO[str] = sys.stderr,
) -> Supervisor:
    """A supervisor of processors.

    Args:
        pipeline: how a worker finds the pipeline (see :func:`headrace.declare.find.find_pipeline`).
        settings: where Kafka and the registry are, without a principal: each worker has its own.
        workers: processor -> how many workers.
        options: more options of ``headrace run``, for each.
        ports: port of each worker's /health, in the order of ``workers``; 0 or none: it picks a free one.
        out: where log lines go.
    """
    lines = Log(out, out.isatty())
    environment = _environment(settings)
    # No other live worker has the name, and it stays when the worker is started again.
    stem = f"{socket.gethostname()}-{os.getpid()}"
    named = [(p, f"{p}-{i}" if count > 1 else p) for p, count in workers.items() for i in range(count)]
    made = []
    for (processor, short), port in zip(named, ports or [0] * len(named), strict=True):
        run = ["run", processor, pipeline, "--worker-id", f"{short}-{stem}", "--port", str(port), *options]
        made.append(Worker(short, processor, [sys.executable, "-m", "headrace", *run], environment, lines))
    return Supervisor(pipeline, made, status_file(settings.state, pipeline))


def workers_of(given: Sequence[str], more: Sequence[str] = ()) -> dict[str, int]:
    """How many workers each processor gets.

    Args:
        given: ``NAME=COUNT``, for those that get more than one.
        more: processors beside those that every pipeline needs.

    Raises:
        ConfigError: no such processor, no such count, or a processor that must run alone.
    """
    workers = {spec.name: 1 for spec in PROCESSORS.values() if spec.always or spec.name in more}
    for name in more:
        processor_spec(name)
    for text in given:
        name, _, count = text.partition("=")
        spec = processor_spec(name)
        if not (count.isdecimal() and count.isascii() and 0 < int(count) < 1000):
            raise ConfigError(f"--workers {text}: give NAME=COUNT, e.g. infer=2")
        if int(count) > 1 and not spec.scales:
            raise ConfigError(f"--workers {text}: {name} runs as one worker, for its state spans the partitions")
        workers[name] = int(count)
    return workers


def status_file(state: Path, pipeline: str) -> Path:
    """Where this process, a supervisor of a pipeline, says how its workers are. A pipeline may have several."""
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in pipeline)
    return state / RUN / f"{safe}-{os.getpid()}.json"


def supervised(state: Path) -> list[dict[str, Any]]:
    """What the supervisors that run now say of their workers, as the status files of a state folder have it."""
    found = []
    for file in sorted((state / RUN).glob("*.json")):
        try:
            told: dict[str, Any] = json.loads(file.read_text())
            os.kill(int(told["pid"]), 0)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.append(told)
    return found


def _environment(settings: Settings) -> dict[str, str]:
    """The settings as a child reads them; secrets stay out of the process list."""
    told = {
        "HEADRACE_BOOTSTRAP": settings.bootstrap,
        "HEADRACE_REGISTRY_URL": settings.registry_url,
        "HEADRACE_STATE": str(settings.state.absolute()),
    }
    if settings.kafka:
        told["HEADRACE_KAFKA"] = json.dumps(settings.kafka)
    return told


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "message" in found else None
