"""What a worker takes and gives beside its speed: start, memory, and what a second one brings."""

from __future__ import annotations

import statistics
from functools import partial

from bench import cores
from bench.progress import Rate
from bench.sitting import Sitting, load
from bench.worker import at_work, throughput

STARTS = 3


def start(sitting: Sitting) -> None:
    """Seconds from spawn to READY, and the resident memory of a worker at work."""
    before, scale = load(), sitting.scale
    runs = [at_work(sitting.linear, scale.records, scale.limit_s) for _ in range(min(STARTS, scale.repeats))]
    seconds, resident = zip(*runs, strict=True)
    values = {"ready_s": statistics.median(seconds), "ready_worst_s": max(seconds), "resident_mb": max(resident)}
    sitting.figures("worker", {name: round(value, 2) for name, value in values.items()}, before)


def pair(sitting: Sitting) -> None:
    """Two workers on two partitions as a multiple of one, each on its core; the broker shares both."""
    if len(cores.ALL) < 2:
        sitting.report.missing("workers2_linear", "one core: a second worker has nowhere to run")
        return
    first, second = (frozenset([core]) for core in sorted(cores.ALL)[-2:])
    sitting.cluster.pin_broker(cores.ALL)
    try:
        for model in ("linear", "trees100"):
            loaded = sitting.loaded(model, f"{model}-pair", partitions=2)
            run = partial(throughput, loaded, "infer", ["predictions"], sitting.scale.records, sitting.scale.limit_s)

            def one(run: partial[Rate] = run) -> Rate:
                return run(where=[second])

            sitting.against({f"workers2_{model}": partial(run, where=[first, second])}, one, "one worker")
    finally:
        sitting.cluster.pin_broker(cores.BROKER)
