"""Training as a function: examples and a trigger in, a package ready to publish out. No broker in sight."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

import headrace
from headrace.models.package import Package
from headrace.models.session import runtime_fingerprint
from headrace.pipeline import Pipeline
from headrace.records import Lineage, TrainingTrigger
from streams.retrain.algorithms import ALGORITHMS, Fitted
from streams.retrain.dataset import Examples, Split, split
from streams.retrain.export import Exported, baseline, parity, to_onnx_bytes
from streams.retrain.invariance import batching
from streams.retrain.manifest import Findings, package
from streams.retrain.scores import binary_metrics


class Trial(NamedTuple):
    """One algorithm, fitted and measured on the validation set."""

    algorithm: str
    fitted: Fitted
    metrics: dict[str, float]


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
    parts = split(pipeline, examples.rows)
    trials = [_trial(pipeline, name, parts, progress) for name in pipeline.training.algorithms]
    best = min(trials, key=lambda t: t.metrics["log_loss"])
    progress(f"{best.algorithm} is best; exporting")
    onnx = to_onnx_bytes(best.fitted.model, len(pipeline.inputs))
    exported = Exported(onnx)
    same = parity(exported, best.fitted.model, parts.validation.x)
    feeding, invariant = batching(exported.run, parts.validation.x)
    findings = Findings(
        metrics={**best.metrics, **_others(trials, best)},
        baseline=baseline(parts.train.x, pipeline.inputs),
        certificates=[same, invariant],
        batching=feeding,
    )
    lineage = _lineage(pipeline, trigger, examples, parts, best)
    return Trained(package(pipeline, best.algorithm, onnx, lineage, findings), trials)


def code_version(pipeline: Pipeline) -> str:
    """Version of headrace and hash of the source that holds the pipeline's functions."""
    files = {inspect.getsourcefile(f) for f in (pipeline.features, pipeline.labels)}
    hashed = hashlib.sha256(b"".join(Path(f).read_bytes() for f in sorted(f for f in files if f)))
    return f"{headrace.__version__}+{hashed.hexdigest()[:16]}"


def lock_hash() -> str:
    """sha-256 over the installed packages and their versions."""
    installed = sorted(f"{d.metadata['Name']}=={d.version}".lower() for d in distributions())
    return hashlib.sha256("\n".join(installed).encode()).hexdigest()


def _trial(pipeline: Pipeline, name: str, parts: Split, progress: Callable[[str], None]) -> Trial:
    progress(f"fitting {name} on {len(parts.train.y)} examples")
    fitted = ALGORITHMS[name](pipeline, parts.train)
    scores = fitted.model.predict_proba(parts.validation.x)[:, 1]
    return Trial(name, fitted, binary_metrics(parts.validation.y, scores))


def _others(trials: list[Trial], best: Trial) -> dict[str, float]:
    return {
        f"{t.algorithm}.{metric}": t.metrics[metric] for t in trials if t is not best for metric in ("auc", "log_loss")
    }


def _lineage(pipeline: Pipeline, trigger: TrainingTrigger, examples: Examples, parts: Split, best: Trial) -> Lineage:
    return Lineage(
        trigger_id=trigger.trigger_id,
        trigger_reason=trigger.reason,
        ranges=trigger.ranges,
        records=examples.rows.height,
        root_hash=examples.root_hash,
        train_until=parts.train_until,
        validation_until=parts.validation_until,
        seed=pipeline.training.seed,
        parameters=best.fitted.parameters,
        code_version=code_version(pipeline),
        lock_hash=lock_hash(),
        runtime=runtime_fingerprint(),
    )
