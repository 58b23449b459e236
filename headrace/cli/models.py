"""``headrace models`` and ``headrace dead``: what was published and decided, and what could not be used."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from headrace.cli.connect import (
    JsonOption,
    KafkaOption,
    PipelineName,
    PropertyOption,
    RegistryOption,
    StateOption,
    open_pipeline,
    settings_from,
)
from headrace.log.base import read_all
from headrace.log.pipeline_log import PipelineLog
from headrace.models.catalog import Governance, governance, published
from headrace.records import DeadLetter, ModelManifest


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command()(models)
    app.command()(dead)


def models(
    pipeline: PipelineName,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every model: what it was made of, its figures, its gates, and where its rule began."""
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x))
    decided = governance(there)
    rows = [model_row(p.manifest, decided) for p in published(there).values()]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table(
        Column("model", no_wrap=True),
        "by",
        "examples",
        "algorithm",
        "log loss",
        "AUC",
        "gates",
        Column("state", overflow="fold"),
        title=f"models of {pipeline}",
    )
    for row in rows:
        failed = [name for name, ok in row["gates"].items() if not ok]
        gates = f"failed: {', '.join(failed)}" if failed else f"{len(row['gates'])} passed" if row["gates"] else ""
        table.add_row(
            row["id"][:12],
            row["trigger"],
            f"{row['examples']:,}",
            row["algorithm"],
            f"{row['metrics']['log_loss']:.4f}",
            f"{row['metrics']['auc']:.4f}",
            gates or "not yet",
            row["state"],
        )
    Console().print(table)


def model_row(manifest: ModelManifest, decided: Governance) -> dict[str, Any]:
    """What is known of a model, as plain data."""
    model_id = manifest.model_id
    activations = [a for a in decided.activations.values() if a.policy.champion == model_id]
    in_force = decided.in_force
    if in_force is not None and in_force.policy.champion == model_id:
        state = "champion"
    elif in_force is not None and model_id in in_force.policy.models:
        state = "shadow or candidate"
    elif model_id in decided.rejected:
        state = f"rejected: {decided.rejected[model_id].reason}"
    else:
        state = "retired" if activations else "waits for approval"
    return {
        "id": model_id,
        "trigger": manifest.lineage.trigger_reason,
        "examples": manifest.lineage.records,
        "algorithm": manifest.algorithm,
        "metrics": manifest.metrics,
        "gates": {g.gate: g.passed for g in decided.gates.get(model_id, {}).values()},
        "state": state,
        "markers": [
            {"activation": a.activation_id, "reason": a.reason, "offsets": {m.partition: m.offset for m in a.markers}}
            for a in activations
        ],
    }


def dead(
    pipeline: PipelineName,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show the dead letters: inputs that gave no result, and why."""
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x))
    letters = dead_letters(there)
    if as_json:
        typer.echo(
            json.dumps(
                [d.model_dump(include={"stage", "code", "reason", "topic", "partition", "offset"}) for d in letters]
            )
        )
        return
    table = Table(
        "stage", "code", Column("where", overflow="fold"), "reason", title=f"{len(letters)} dead letters of {pipeline}"
    )
    for letter in letters[:limit]:
        where = (
            f"{letter.topic}[{letter.partition}] {letter.offset}"
            if letter.partition >= 0
            else f"{letter.topic}:{letter.offset}"
        )
        table.add_row(letter.stage, letter.code, where, letter.reason)
    Console().print(table)


def dead_letters(topics: PipelineLog) -> list[DeadLetter]:
    """Every dead letter, partition by partition."""
    found = []
    for chunk in read_all(topics.log, topics.topic("dead")):
        found += [r for _, r in topics.control_records(chunk) if isinstance(r, DeadLetter)]
    return found
