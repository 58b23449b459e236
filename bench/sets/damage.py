"""Damaged records: the infer worker on a log where some values are cut short, against the clean log."""

from __future__ import annotations

from functools import partial

import numpy as np

from bench.loaded import SLICE, Loaded
from bench.models import package
from bench.pipeline import REFERENCE, declared, feature_rows
from bench.progress import Rate
from bench.sitting import Sitting
from bench.worker import throughput

SHARES = (1, 50)
"""Percent of the records that are damaged."""


def damage(sitting: Sitting) -> None:
    """Records a second with 1 % and with 50 % damaged, as a share of the clean run; each becomes a dead letter."""
    cases = {f"infer_damaged{share}": partial(_run, sitting, _loaded(sitting, share)) for share in SHARES}
    sitting.against(cases, lambda: sitting.infer(sitting.linear), "infer_linear_txn100")


def _run(sitting: Sitting, loaded: Loaded) -> Rate:
    return throughput(loaded, "infer", ["predictions", "dead"], 2 * sitting.scale.records, sitting.scale.limit_s)


def _loaded(sitting: Sitting, share: int) -> Loaded:
    loaded = Loaded(sitting.cluster, declared(f"bench-damaged{share}"), REFERENCE)
    loaded.rule(package(loaded.pipeline, "linear"))
    chosen = np.random.default_rng(share).random(SLICE) < share / 100
    for rows in feature_rows(2 * sitting.scale.records).iter_slices(SLICE):
        values = loaded.topics.codec("features").encode(rows)
        damaged = [v[: len(v) // 2] if bad and v else v for v, bad in zip(values, chosen, strict=False)]
        loaded.send("features", [k.encode() for k in rows["key"]], damaged)
    loaded.flush()
    return loaded
