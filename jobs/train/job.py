"""The job of a training, as a child process runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headrace.config import Settings
from headrace.models.package.package import Package
from headrace.models.package.signing import sign
from headrace.schema.records import ModelManifest, TrainingTrigger
from headrace.topics.pipeline_topics import PipelineTopics

LEFT_OUT = "examples_left_out"
"""Figure of a manifest: how many examples of the trigger's ranges no model could learn from."""
MODEL, MANIFEST, WRITTEN = "model.onnx", "manifest.json", "written"


def result(folder: Path) -> Package | None:
    """What a job wrote, or None while it has not."""
    if not (folder / WRITTEN).exists():
        return None
    manifest = ModelManifest.model_validate_json((folder / MANIFEST).read_text())
    return Package(manifest, (folder / MODEL).read_bytes())


def work(topics: PipelineTopics, spec: dict[str, Any], folder: Path) -> None:
    """Read the trigger's examples, train, sign and write the package, then log to MLflow where one is configured.

    Raises:
        TrackingFailed: it could not be logged; the package is written.
    """
    from headrace.jobs.train.dataset import read_examples
    from headrace.jobs.train.fit import train

    trigger = TrainingTrigger.model_validate(spec["trigger"])
    trained = train(topics.pipeline, trigger, read_examples(topics, trigger.ranges), print)
    settings = Settings(**spec["settings"])
    package = trained.package if settings.signing_key is None else sign(trained.package, settings.signing_key)
    (folder / MODEL).write_bytes(package.onnx)
    (folder / MANIFEST).write_text(package.manifest.model_dump_json())
    (folder / WRITTEN).touch()
    if settings.mlflow_uri:
        from headrace.jobs.train.tracking import track

        track(settings.mlflow_uri, trained)
