"""Another hot processor: preprocess (raw -> features)."""

from __future__ import annotations

from bench.loaded import Loaded
from bench.pipeline import REFERENCE, declared, raw_rows
from bench.progress import Rate
from bench.sitting import Sitting
from bench.worker import throughput


def preprocess(sitting: Sitting) -> None:
    """Raw events a second, each of which makes a features record; every second one a label too."""
    loaded = Loaded(sitting.cluster, declared("bench-raw"), REFERENCE)
    loaded.load("raw", raw_rows(sitting.scale.records), key="sensor")

    def run() -> Rate:
        written = sitting.scale.records * 3 // 2
        found = throughput(loaded, "preprocess", ["features", "labels"], written, sitting.scale.limit_s)
        return Rate(found.records * 2 // 3, found.seconds)

    sitting.against({"preprocess_txn100": run})
