"""A training outside the stream, as ``mlflow run`` starts it: on the examples there are, or those of a model.

It reads the topics and publishes nothing. What it makes goes into the MLflow run: figures, ONNX bytes, manifest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from headrace.config import load_settings
from headrace.declare.find import find_pipeline
from headrace.errors import HeadraceError
from headrace.governance.catalog import published, resolve_model
from headrace.governance.decisions import every_example
from headrace.jobs.train.dataset import gathered, read_examples
from headrace.jobs.train.fit import Trained, train
from headrace.jobs.train.job import MANIFEST, MODEL
from headrace.jobs.train.lineage import as_recorded, trigger_of
from headrace.jobs.train.source import examples_of
from headrace.jobs.train.tracking import log_all
from headrace.kafka.cluster import KafkaLog
from headrace.schema.records import TrainingTrigger
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics


def main() -> int:
    """Train as the command line says; gives 1 where a model made again is another."""
    parser = argparse.ArgumentParser(prog="headrace.jobs.train.local", description=__doc__)
    parser.add_argument("--pipeline", required=True, help="a name from headrace.toml, or module:attribute")
    parser.add_argument("--kafka", default="", help="default: the embedded stack")
    parser.add_argument("--registry", default="", help="default: the embedded one")
    parser.add_argument("--model", default="", help="make this model again, rather than a new one")
    given = parser.parse_args()
    try:
        settings = load_settings(bootstrap=given.kafka or None, registry_url=given.registry or None).located()
        log = KafkaLog(settings, "headrace-local-training")
        topics = PipelineTopics(find_pipeline(given.pipeline, settings), log, ConfluentRegistry(settings))
        if given.model:
            wanted, trained = _again(topics, given.model, settings.data_folder)
        else:
            wanted, trained = "", _anew(topics)
    except HeadraceError as e:
        print(f"headrace: {e}", file=sys.stderr)
        return e.exit_code
    _keep(trained)
    made = trained.package.manifest.model_id
    print(f"model {made}")
    if wanted and wanted != made:
        print(f"headrace: that is another model than {wanted}: `headrace reproduce` tells where", file=sys.stderr)
        return 1
    return 0


def _anew(topics: PipelineTopics) -> Trained:
    ranges = every_example(topics)
    trigger = TrainingTrigger(
        trigger_id="mlflow", reason="person", detail="mlflow run", requester="mlflow", ranges=ranges
    )
    return train(topics.pipeline, trigger, read_examples(topics, ranges), print)


def _again(topics: PipelineTopics, model: str, data: Path) -> tuple[str, Trained]:
    models = published(topics, settled=True)
    model_id = resolve_model(models, model)
    lineage = models[model_id].manifest.lineage
    source, chunks = examples_of(topics, lineage, data)
    print(f"examples from {source}")
    examples = gathered(topics, lineage.ranges, chunks)
    return model_id, train(as_recorded(topics.pipeline, lineage), trigger_of(lineage), examples, print)


def _keep(trained: Trained) -> None:
    """Log into the run that ``mlflow run`` has begun, or into one of its own."""
    import mlflow

    with mlflow.start_run(), tempfile.TemporaryDirectory() as name:
        log_all(trained, nested=True)
        folder = Path(name)
        (folder / MODEL).write_bytes(trained.package.onnx)
        (folder / MANIFEST).write_text(trained.package.manifest.model_dump_json(indent=1))
        mlflow.log_artifacts(name, "model")
        mlflow.set_tag("headrace.model_id", trained.package.manifest.model_id)
        mlflow.log_metrics(trained.package.manifest.metrics)


if __name__ == "__main__":
    sys.exit(main())
