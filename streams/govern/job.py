"""The child process that runs the gates: ``python -m streams.govern.job FOLDER`` with a spec on standard input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter

from headrace.log.pipeline_log import PipelineLog
from headrace.models.catalog import Published, published
from headrace.models.package import Package
from headrace.models.topic import fetch
from headrace.records import ConsumerContract, GateResult
from streams import job

RESULTS = "gates.json"
_Results = TypeAdapter(list[GateResult])


def results(folder: Path) -> list[GateResult]:
    """What a job wrote."""
    return _Results.validate_json((folder / RESULTS).read_bytes())


def work(topics: PipelineLog, spec: dict[str, Any], folder: Path) -> None:
    """Put the case together from the topics and judge it."""
    from streams.govern.gates import Case, judge
    from streams.retrain.dataset import read_examples

    models = published(topics)
    candidate = _fetched(topics, models[spec["candidate"]])
    champion = _fetched(topics, models[spec["champion"]]) if spec["champion"] else None
    lineage = candidate.manifest.lineage
    examples = read_examples(topics, lineage.ranges).rows.filter(
        (pl.col("event_time") >= lineage.train_until) & (pl.col("event_time") < lineage.validation_until)
    )
    contracts: dict[str, ConsumerContract] = {}
    for _, record in topics.read_control("contracts"):
        if isinstance(record, ConsumerContract):
            contracts[record.consumer_id] = record
    case = Case(topics.pipeline, candidate, champion, examples, list(contracts.values()))
    (folder / RESULTS).write_bytes(_Results.dump_json(judge(case)))


def _fetched(topics: PipelineLog, model: Published) -> Package:
    return fetch(topics, topics.log, model.manifest, model.offset)


if __name__ == "__main__":
    job.run("gates", work, needs="streams.govern.gates")
