"""The other hot processors: preprocess (raw -> features) and join (features + labels -> examples)."""

from __future__ import annotations

from bench.loaded import Loaded
from bench.pipeline import REFERENCE, declared, feature_rows, label_rows, raw_rows
from bench.progress import Rate
from bench.sitting import Sitting
from bench.worker import throughput

JOINED = 200_000
"""Features records to join: every one is held for its label."""


def preprocess(sitting: Sitting) -> None:
    """Raw events a second, each of which makes a features record; every second one a label too."""
    loaded = Loaded(sitting.cluster, declared("bench-raw"), REFERENCE)
    loaded.load("raw", raw_rows(sitting.scale.records), key="sensor")

    def run() -> Rate:
        written = sitting.scale.records * 3 // 2
        found = throughput(loaded, "preprocess", ["features", "labels"], written, sitting.scale.limit_s)
        return Rate(found.records * 2 // 3, found.seconds)

    sitting.against({"preprocess_txn100": run})


def join(sitting: Sitting) -> None:
    """Examples a second, each of which takes a features record and its label."""
    loaded = Loaded(sitting.cluster, declared("bench-join"), REFERENCE)
    rows = feature_rows(min(JOINED, sitting.scale.records))
    loaded.load("features", rows)
    loaded.load("labels", label_rows(rows))

    def run() -> Rate:
        return throughput(loaded, "join", ["examples"], rows.height, sitting.scale.limit_s)

    sitting.against({"join_txn100": run})
