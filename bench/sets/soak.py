"""What a worker holds after fifty million records, and what a million of them cost in processor time."""

from __future__ import annotations

from bench.loaded import Loaded
from bench.models import package
from bench.pipeline import REFERENCE, declared, feature_rows
from bench.progress import Ends, watch
from bench.sitting import FULL, Sitting, load
from bench.worker import MB, Worker

RECORDS = 4_000_000
"""Of one round."""
ROUNDS = 13
EARLY = 2
"""Rounds after which memory is looked at first."""


def soak(sitting: Sitting) -> None:
    """Megabytes resident after 8 and after 52 million records, and processor seconds for each million between."""
    before = load()
    rounds, records = (ROUNDS, RECORDS) if sitting.scale is FULL else (EARLY + 1, sitting.scale.records)
    loaded = Loaded(sitting.cluster, declared("bench-soak"), REFERENCE)
    loaded.rule(package(loaded.pipeline, "linear"))
    rows = feature_rows(records)
    for _ in range(rounds):
        loaded.load("features", rows)
    written = Ends(sitting.cluster, [loaded.topics.topic("predictions")])
    resident, spent = [], []
    with Worker(loaded, "infer", 100) as worker:
        for number in range(1, rounds + 1):
            # A little less than is there: the markers of commits count in the end of a partition.
            watch(written, worker.check, number * len(rows) * 99 // 100, 600)
            resident.append(worker.resident / MB)
            spent.append(worker.processor_s)
    millions = (rounds - EARLY) * len(rows) * 99 / 100 / 1e6
    values = {
        "records_early": EARLY * len(rows),
        "records": rounds * len(rows),
        "resident_early_mb": round(resident[EARLY - 1], 1),
        "resident_mb": round(resident[-1], 1),
        "processor_s_a_million": round((spent[-1] - spent[EARLY - 1]) / millions, 2),
    }
    sitting.figures("soak", values, before)
