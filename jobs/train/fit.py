"""Training as a function: examples and a trigger in, a package ready to publish out. No broker in sight."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from headrace.declare.pipeline import Pipeline
from headrace.jobs.train.algorithms import ALGORITHMS, Fitted
from headrace.jobs.train.dataset import Examples, Split, split
from headrace.jobs.train.export import Exported, baseline, parity, to_onnx_bytes
from headrace.jobs.train.invariance import batching
from headrace.jobs.train.job import LEFT_OUT
from headrace.jobs.train.lineage import lineage_of
from headrace.jobs.train.manifest import Findings, package
from headrace.models.metrics import binary_metrics
from headrace.models.package.package import Package
from headrace.schema.records import TrainingTrigger


class Trial(NamedTuple):
    """One algorithm, fitted and measured on the validation set.

    ``fit_hash``: sha-256 over its scores there, float64, hex.
    """

    algorithm: str
    fitted: Fitted
    metrics: dict[str, float]
    fit_hash: str


class Trained(NamedTuple):
    """The package to publish, and every trial behind the choice."""

    package: Package
    trials: list[Trial]


def train(
    pipeline: Pipeline,
    trigger: TrainingTrigger,
    examples: Examples,
    progress: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Fit every algorithm the pipeline names, choose by log loss on the validation set, export and check.

    Raises:
        TrainingRefused: the examples cannot give a model, or the ONNX model does not score as the original.
    """
    if examples.left_out:
        progress(f"{examples.left_out} of {examples.count} examples left out: no model can learn from them")
    parts = split(pipeline, examples.rows)
    trials = [_trial(pipeline, name, parts, progress) for name in pipeline.training.algorithms]
    best = min(trials, key=lambda t: t.metrics["log_loss"])
    progress(f"{best.algorithm} is best; exporting")
    onnx = to_onnx_bytes(best.fitted.model, len(pipeline.inputs))
    exported = Exported(onnx)
    same = parity(exported, best.fitted.model, parts.validation.x)
    feeding, invariant = batching(exported.run, parts.validation.x)
    findings = Findings(
        metrics={**best.metrics, **_others(trials, best), **_left_out(examples)},
        baseline=baseline(parts.train.x, pipeline.inputs),
        certificates=[same, invariant],
        batching=feeding,
    )
    lineage = lineage_of(pipeline, trigger, examples, parts, best.fitted.parameters, best.fit_hash)
    return Trained(package(pipeline, best.algorithm, onnx, lineage, findings), trials)


def _trial(pipeline: Pipeline, name: str, parts: Split, progress: Callable[[str], None]) -> Trial:
    progress(f"fitting {name} on {len(parts.train.y)} examples")
    # Sums of several threads depend on how many there are (measured: logistic regression; boosting does not).
    with threadpool_limits(1, user_api="blas"):
        fitted = ALGORITHMS[name](pipeline, parts.train)
        scores = fitted.model.predict_proba(parts.validation.x)[:, 1]
    fit_hash = hashlib.sha256(np.ascontiguousarray(scores).tobytes()).hexdigest()
    return Trial(name, fitted, binary_metrics(parts.validation.y, scores), fit_hash)


def _left_out(examples: Examples) -> dict[str, float]:
    return {LEFT_OUT: float(examples.left_out)} if examples.left_out else {}


def _others(trials: list[Trial], best: Trial) -> dict[str, float]:
    return {
        f"{t.algorithm}.{metric}": t.metrics[metric] for t in trials if t is not best for metric in ("auc", "log_loss")
    }
