"""The job that runs the gates, as a child process runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter

from headrace.governance.catalog import Published, published
from headrace.models.package.package import Package
from headrace.models.package.topic import fetch
from headrace.schema.records import ConsumerContract, GateResult
from headrace.topics.pipeline_topics import PipelineTopics

RESULTS = "gates.json"
_Results = TypeAdapter(list[GateResult])


def results(folder: Path) -> list[GateResult] | None:
    """What a job wrote, or None while it has not."""
    file = folder / RESULTS
    return _Results.validate_json(file.read_bytes()) if file.exists() else None


def work(topics: PipelineTopics, spec: dict[str, Any], folder: Path) -> None:
    """Put the case together from the topics and run its gates."""
    from headrace.jobs.gates.gates import GateCase, run_gates
    from headrace.jobs.train.dataset import complete, read_examples

    models = published(topics)
    candidate = _fetched(topics, models[spec["candidate"]])
    champion = _fetched(topics, models[spec["champion"]]) if spec["champion"] else None
    lineage = candidate.manifest.lineage
    rows = read_examples(topics, lineage.ranges).rows
    examples = complete(topics.pipeline, candidate.manifest.features, rows).filter(
        (pl.col("event_time") >= lineage.train_until) & (pl.col("event_time") < lineage.validation_until)
    )
    contracts: dict[str, ConsumerContract] = {}
    for _, record in topics.read_control("contracts"):
        if isinstance(record, ConsumerContract):
            contracts[record.consumer_id] = record
    case = GateCase(topics.pipeline, candidate, champion, examples, list(contracts.values()))
    half = folder / f"{RESULTS}.half"
    half.write_bytes(_Results.dump_json(run_gates(case)))
    half.rename(folder / RESULTS)  # whole, or not there


def _fetched(topics: PipelineTopics, model: Published) -> Package:
    return fetch(topics, topics.log, model.manifest, model.offset)
