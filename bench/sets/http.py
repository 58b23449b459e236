"""Events over HTTP: single ones as a share of an application that only answers, batches as a multiple of them."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from bench import cores
from bench.pairing import Measure
from bench.progress import Rate
from bench.sitting import FULL, Sitting, load
from headrace.errors import StackError

CONNECTIONS, BATCHES = 64, 8
SECONDS = 2.0
START_S = 60.0
TIMEOUT_S = 60


def http(sitting: Sitting) -> None:
    """Single events and batches of 500, over connections that are kept open, and how long their answers took."""
    settings = sitting.cluster.settings
    port, answer_port = _free_port(), _free_port()
    times: dict[str, list[dict[str, float]]] = {"single": [], "batch": [], "answer": []}
    with (
        _serving("serve", settings.bootstrap, settings.registry_url, str(port)),
        _serving("answer", str(answer_port)),
    ):
        _until_there(port, answer_port)
        ask = partial(_ask, times, SECONDS if sitting.scale is FULL else 1.0)
        single: Measure = partial(ask, "single", port, "single", CONNECTIONS)
        before = load()
        sitting.against(
            {"http_single": single}, partial(ask, "answer", answer_port, "single", CONNECTIONS), "an answer alone"
        )
        sitting.against({"http_batch": partial(ask, "batch", port, "batch", BATCHES)}, single, "single events")
    for name, found in times.items():
        figures = {unit: statistics.median(one[unit] for one in found) for unit in ("p50_ms", "p99_ms")}
        sitting.figures(f"http_{name}_ms", figures, before)


def _ask(times: dict[str, list[dict[str, float]]], seconds: float, name: str, port: int, *what: object) -> Rate:
    kind, connections = what
    cmd = [sys.executable, "-m", "bench.http", "load", str(port), str(kind), str(connections), str(seconds)]
    with cores.on(cores.BROKER):
        done = subprocess.run(cmd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise StackError(f"asking failed: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    times[name].append(found)
    return Rate(found["records"], found["seconds"])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


@contextmanager
def _serving(*args: str) -> Iterator[None]:
    with cores.on(cores.CLIENT):
        process = subprocess.Popen([sys.executable, "-m", "bench.http", *args])
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _until_there(*ports: int) -> None:
    deadline = time.monotonic() + START_S
    for port in ports:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=1).close()
                break
            except OSError as e:
                if time.monotonic() > deadline:
                    raise StackError(f"nothing answers on port {port}: {e}") from None
                time.sleep(0.05)
