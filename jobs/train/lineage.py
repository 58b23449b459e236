"""From what a model is made, written down so that it can be made again: data, code, settings, packages."""

from __future__ import annotations

import hashlib
import inspect
import platform
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import distributions
from pathlib import Path

import headrace
from headrace.declare.pipeline import Pipeline
from headrace.jobs.hash_tree import HashTree, stated
from headrace.jobs.train.dataset import Examples, Split
from headrace.models.score.session import runtime_fingerprint
from headrace.schema.records import Lineage, RangeTree, TrainingTrigger

MATTERS = (
    *("joblib", "numpy", "onnx", "onnxconverter-common", "onnxruntime", "polars", "protobuf", "scikit-learn"),
    *("scipy", "skl2onnx", "threadpoolctl"),
)
"""Packages whose versions are written down one by one."""


def lineage_of(
    pipeline: Pipeline,
    trigger: TrainingTrigger,
    examples: Examples,
    parts: Split,
    parameters: dict[str, str],
    fit_hash: str,
) -> Lineage:
    """The lineage of a model fitted with ``parameters``."""
    return Lineage(
        trigger_id=trigger.trigger_id,
        trigger_reason=trigger.reason,
        ranges=trigger.ranges,
        records=examples.count,
        root_hash=examples.root_hash,
        train_until=parts.train_until,
        validation_until=parts.validation_until,
        seed=pipeline.training.seed,
        parameters=parameters,
        code_version=code_version(pipeline),
        lock_hash=lock_hash(),
        runtime=runtime_fingerprint(),
        trees=[tree_record(p, tree) for p, tree in sorted(examples.trees.items())],
        settings=settings(pipeline),
        packages=packages(),
        fit_hash=fit_hash,
    )


def trigger_of(lineage: Lineage) -> TrainingTrigger:
    """The trigger that a model answers, as far as a training needs it."""
    told = {"trigger_id": lineage.trigger_id, "reason": lineage.trigger_reason, "ranges": lineage.ranges}
    return TrainingTrigger.model_validate({**told, "detail": "made again", "requester": ""})


def tree_record(partition: int, tree: HashTree) -> RangeTree:
    """A tree as a manifest carries it."""
    return RangeTree(partition=partition, count=tree.count, block=tree.block, blocks=stated(tree.blocks))


def code_version(pipeline: Pipeline) -> str:
    """``VERSION+FUNCTIONS.TRAINER``: headrace's version, and hashes of the source that holds the pipeline's functions
    and of the code that trains."""
    functions = {inspect.getsourcefile(f) for f in (pipeline.features, pipeline.labels)}
    trainer = Path(__file__).parent.glob("*.py")
    return f"{headrace.__version__}+{_hashed(Path(f) for f in functions if f)}.{_hashed(trainer)}"


def lock_hash() -> str:
    """sha-256 over the installed packages and their versions."""
    installed = sorted(f"{d.metadata['Name']}=={d.version}".lower() for d in distributions())
    return hashlib.sha256("\n".join(installed).encode()).hexdigest()


def packages() -> dict[str, str]:
    """Versions of the packages that a training's result depends on, and of Python."""
    installed = {str(d.metadata["Name"]).lower(): d.version for d in distributions()}
    return {"python": platform.python_version()} | {name: installed.get(name, "") for name in MATTERS}


def settings(pipeline: Pipeline) -> dict[str, str]:
    """How the pipeline says to train."""
    training = pipeline.training
    return {
        "algorithms": " ".join(training.algorithms),
        "validation_s": f"{training.validation.total_seconds():.6f}",
        "window_s": "" if training.window is None else f"{training.window.total_seconds():.6f}",
        "minimum": str(training.minimum),
        "seed": str(training.seed),
        "categorical": " ".join(pipeline.categorical),
    }


def as_recorded(pipeline: Pipeline, lineage: Lineage) -> Pipeline:
    """The pipeline with the settings that a model was trained with."""
    said = lineage.settings
    if not said:
        return pipeline
    training = replace(
        pipeline.training,
        algorithms=tuple(said["algorithms"].split()),  # type: ignore[arg-type]
        validation=timedelta(seconds=float(said["validation_s"])),
        window=timedelta(seconds=float(said["window_s"])) if said["window_s"] else None,
        minimum=int(said["minimum"]),
        seed=int(said["seed"]),
    )
    return replace(pipeline, training=training, categorical=tuple(said["categorical"].split()))


def _hashed(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(f.read_bytes() for f in sorted(files))).hexdigest()[:16]
