"""Headrace's own workers, started as a user starts them, each in its process: ``headrace run infer ...``."""

from __future__ import annotations

import http.client
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from bench import cores
from bench.loaded import Loaded
from bench.process import Process
from bench.progress import Ends, Rate, watch
from headrace.embedded.ports import HOST
from headrace.errors import StackError

READY_S = 60.0
MB = 1 << 20
WARM = 50_000
"""Records left out of each measurement: a worker's first batches load code and fill queues."""
POLL_S = 0.01
NOTHING: Mapping[str, str] = {}


class Worker(Process):
    """One ``headrace run``."""

    def __init__(
        self,
        loaded: Loaded,
        processor: str,
        commit_ms: int,
        where: cores.Cores = cores.CLIENT,
        number: int = 0,
        settings: Mapping[str, str] = NOTHING,
    ) -> None:
        name = f"{processor}-{number}"
        self._port = _free_port()
        run = ["run", processor, loaded.reference, "--worker-id", name]
        run += ["--commit-ms", str(commit_ms), "--port", str(self._port)]
        environment = {
            "HEADRACE_UNSIGNED_MODELS": "accept",
            "HEADRACE_BOOTSTRAP": loaded.cluster.settings.bootstrap,
            "HEADRACE_REGISTRY_URL": loaded.cluster.settings.registry_url,
            "HEADRACE_MLFLOW_URI": "",
            "BENCH_PIPELINE": loaded.pipeline.name,
            "BENCH_PARTITIONS": str(loaded.pipeline.partitions),
            **settings,
        }
        cmd = [sys.executable, "-m", "headrace", *run]
        super().__init__(name, cmd, loaded.cluster.folder, where, environment)

    def wait_ready(self) -> float:
        """Seconds from the start of the process until its /health says ready."""
        deadline = time.monotonic() + READY_S
        while not self._answers_ready():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} was not ready within {READY_S:.0f} s; log: {self.log}")
            time.sleep(POLL_S)
        return time.perf_counter() - self.began

    def _answers_ready(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=1)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def throughput(
    loaded: Loaded,
    processor: str,
    sinks: Sequence[str],
    records: int,
    limit_s: float,
    commit_ms: int = 100,
    where: Sequence[cores.Cores] = (cores.CLIENT,),
) -> Rate:
    """Records a second that a processor writes to ``sinks``, from its input's first record on.

    One worker runs on each of ``where``. What they wrote, and their group's offsets, are gone after.
    """
    cluster = loaded.cluster
    topics = [loaded.topics.topic(sink) for sink in sinks]
    cluster.forget_group(f"{loaded.pipeline.name}.{processor}")
    written = Ends(cluster, topics)
    with ExitStack() as running:
        workers = [running.enter_context(Worker(loaded, processor, commit_ms, one, n)) for n, one in enumerate(where)]

        def check() -> None:
            for worker in workers:
                worker.check()

        found = watch(written, check, records, limit_s, WARM)
    cluster.discard(topics)
    return found


def at_work(loaded: Loaded, records: int, limit_s: float) -> tuple[float, float]:
    """Seconds from the start of an infer worker until it is ready, and the MiB that it holds under full load."""
    cluster, sink = loaded.cluster, loaded.topics.topic("predictions")
    cluster.forget_group(f"{loaded.pipeline.name}.infer")
    written = Ends(cluster, [sink])
    with Worker(loaded, "infer", 100) as worker:
        ready_s = worker.wait_ready()
        watch(written, worker.check, records, limit_s)
        held = worker.resident / MB
    cluster.discard([sink])
    return ready_s, held


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
