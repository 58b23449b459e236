"""Latency from a producer to a read_committed reader of the predictions, at rates that are offered, not chased."""

from __future__ import annotations

import json
import sys

from bench import cores
from bench.loaded import Loaded
from bench.models import package
from bench.pipeline import REFERENCE, declared
from bench.process import Process
from bench.reader import READY
from bench.sitting import FULL, Sitting, load
from bench.worker import Worker

OFFERED = (50_000, 100_000)
INTERVALS_MS = (20, 100)
WARM_S = 20.0
"""Offered before anything counts: the broker compiles what it runs, on the core that it runs on."""
SKIP_S = 1.0
PATIENCE_S = 12.0
"""How long the reader waits for what is still under way when the producer has ended."""


def latency(sitting: Sitting) -> None:
    """Milliseconds at p50, p99 and p99.9: the linear model at each commit interval and offered rate."""
    for ms in INTERVALS_MS:
        # In segments of the usual size: with small ones, single commits took a tenth of a second.
        loaded = Loaded(sitting.cluster, declared(f"bench-latency{ms}"), REFERENCE, {})
        loaded.rule(package(loaded.pipeline, "linear"))
        with Worker(loaded, "infer", ms) as worker:
            worker.wait_ready()
            _offer(sitting, loaded, OFFERED[-1], WARM_S if sitting.scale is FULL else SKIP_S)
            for rate in OFFERED:
                before = load()
                figures = _offer(sitting, loaded, rate, sitting.scale.latency_s + SKIP_S)
                worker.check()
                sitting.figures(f"latency_{rate // 1000}k_txn{ms}", figures, before)


def _offer(sitting: Sitting, loaded: Loaded, rate: int, seconds: float) -> dict[str, float]:
    """Offer records for so many seconds and give what the reader saw; its first second is left out."""
    settings, folder = sitting.cluster.settings, sitting.cluster.folder
    where = [settings.bootstrap, settings.registry_url, loaded.pipeline.name]
    count, skip = rate * seconds, SKIP_S if seconds > SKIP_S else 0.0
    read = [sys.executable, "-m", "bench.reader", *where, str(int(count)), str(seconds + PATIENCE_S), str(skip)]
    send = [sys.executable, "-m", "bench.producer", *where, str(rate), str(seconds)]
    with Process("reader", read, folder, cores.ALL) as reader:
        reader.wait_for(READY)
        with Process("producer", send, folder, cores.ALL) as producer:
            producer.finish(seconds + PATIENCE_S + 30)
        reader.finish(PATIENCE_S + 30)
    found: dict[str, float] = json.loads(reader.said().splitlines()[-1])
    return {name: round(value, 1) for name, value in found.items()} | {"offered_per_second": rate}
