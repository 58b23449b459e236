"""How much of P is left: the passthrough in transactions, and the real infer worker under three models."""

from __future__ import annotations

from functools import partial

from bench.pairing import Measure
from bench.sitting import Sitting

INTERVALS_MS = (20, 50, 100)


def passthrough(sitting: Sitting) -> None:
    """P in transactions: what exactly-once costs before anything is decoded."""
    sitting.against({f"passthrough_txn{ms}": partial(sitting.plain, ms) for ms in (20, 100)})


def infer(sitting: Sitting) -> None:
    """``headrace run infer`` with each model at each commit interval."""
    cases: dict[str, Measure] = {}
    for model in ("linear", "mlp", "trees100"):
        loaded = sitting.linear if model == "linear" else sitting.loaded(model)
        for ms in INTERVALS_MS:
            cases[f"infer_{model}_txn{ms}"] = partial(sitting.infer, loaded, ms)
    sitting.against(cases)
