"""What a swap of the model costs the stream, and what a hundred of them leave behind."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import onnx

from bench import cores
from bench.loaded import Loaded
from bench.models import package
from bench.pipeline import REFERENCE, declared, feature_rows
from bench.process import Process
from bench.progress import Ends
from bench.sitting import FULL, Sitting, load
from bench.worker import MB, Worker
from headrace.models.package.package import Package
from headrace.testing.models import packed

SPAN_S = 0.1
SWAPS = 100
SETTLED = 10
"""Swaps after which memory is looked at first."""
RATE = 20_000


def swap(sitting: Sitting) -> None:
    """Predictions a second in spans of 100 ms, on a backlog that the worker takes at full speed across a swap."""
    before, loaded = load(), Loaded(sitting.cluster, declared("bench-swap"), REFERENCE)
    half = sitting.scale.records * 2
    loaded.rule(package(loaded.pipeline, "linear"))
    loaded.load("features", feature_rows(half))
    loaded.rule(package(loaded.pipeline, "linear", seed=8), "second")
    loaded.load("features", feature_rows(half))
    written = Ends(sitting.cluster, [loaded.topics.topic("predictions")])
    with Worker(loaded, "infer", 20) as worker:
        worker.wait_ready()
        spans: list[tuple[int, float]] = []
        count, at = written(), time.perf_counter()
        while count < 2 * half * 19 // 20:
            time.sleep(SPAN_S)
            last, since = count, at
            count, at = written(), time.perf_counter()
            spans.append((count, (count - last) / (at - since)))
            worker.check()
    rates = [rate for _, rate in spans]
    crossed = next(i for i, (count, _) in enumerate(spans) if count >= half)
    around = rates[crossed - 1 : crossed + 2]
    elsewhere = rates[2 : crossed - 1] + rates[crossed + 2 :]
    figures = {
        "median_per_second": statistics.median(rates),
        "lowest_at_the_swap": min(around),
        "lowest_elsewhere": min(elsewhere),
    }
    sitting.figures("swap_spans_100ms", {name: round(value) for name, value in figures.items()}, before)


def swaps(sitting: Sitting) -> None:
    """The worker's memory after many swaps between models of 100 trees, as growth since the first few."""
    before, count = load(), SWAPS if sitting.scale is FULL else 2 * SETTLED
    loaded = Loaded(sitting.cluster, declared("bench-swaps"), REFERENCE)
    trees = package(loaded.pipeline, "trees100")
    loaded.rule(trees)
    resident = {}
    with Worker(loaded, "infer", 100) as worker, _flow(sitting, loaded, RATE, 600):
        worker.wait_ready()
        for number in range(1, count + 1):
            loaded.swap(_another(loaded, trees, number))
            if number in (SETTLED, count):
                resident[number] = worker.resident / MB
            worker.check()
    growth = 100 * (resident[count] / resident[SETTLED] - 1)
    values = {"swaps": count, "resident_mb": round(resident[count], 1), "growth_percent": round(growth, 2)}
    sitting.figures("swaps_memory", values, before)


def _another(loaded: Loaded, trees: Package, number: int) -> Package:
    """The same trees as a model of another id."""
    model = onnx.load_model_from_string(trees.onnx)
    model.doc_string = f"number {number}"
    return packed(loaded.pipeline, "trees100", model.SerializeToString(), seed=7)


@contextmanager
def _flow(sitting: Sitting, loaded: Loaded, rate: int, seconds: float) -> Iterator[None]:
    settings = sitting.cluster.settings
    cmd = [sys.executable, "-m", "bench.producer", settings.bootstrap, settings.registry_url, loaded.pipeline.name]
    with Process("producer", [*cmd, str(rate), str(seconds)], sitting.cluster.folder, cores.BROKER):
        yield
