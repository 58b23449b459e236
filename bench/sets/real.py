"""A real pipeline: the flights of the example, its own features and a model fitted on them."""

from __future__ import annotations

from bench import flights
from bench.flights_model import fitted
from bench.loaded import Loaded
from bench.progress import Rate
from bench.sitting import FULL, Sitting, load
from bench.worker import at_work, throughput

MONTHS = 6


def real(sitting: Sitting) -> None:
    """Events a second through flights' preprocess, and features records a second through its model."""
    raw = flights.events(MONTHS if sitting.scale is FULL else 1)
    pushed = Loaded(sitting.cluster, flights.declared("bench-flights-raw"), flights.REFERENCE)
    pushed.load("raw", raw, key="origin")
    rows = flights.feature_rows(raw)
    scored = Loaded(sitting.cluster, flights.declared("bench-flights"), flights.REFERENCE)
    scored.rule(fitted(scored.pipeline, raw, rows))
    scored.load("features", rows)

    def preprocess() -> Rate:
        return throughput(pushed, "preprocess", ["features", "labels"], raw.height * 49 // 50, sitting.scale.limit_s)

    def infer() -> Rate:
        return throughput(scored, "infer", ["predictions"], rows.height, sitting.scale.limit_s)

    sitting.against({"preprocess_flights_txn100": preprocess, "infer_flights_txn100": infer})
    before = load()
    _, resident = at_work(scored, rows.height, sitting.scale.limit_s)
    sitting.figures("worker_flights", {"resident_mb": round(resident, 2)}, before)
