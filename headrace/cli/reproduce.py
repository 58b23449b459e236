"""``headrace reproduce``: a model made again from its manifest, to the same bytes."""

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
from headrace.cli.data import DataOption
from headrace.cli.extras import platform_module
from headrace.governance.catalog import published, resolve_model


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(reproduce)


def reproduce(
    pipeline: PipelineName,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model id, or as much of its start as is unique.")],
    data: DataOption = None,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model again from its manifest: the same examples, split, fit and export must give the same id.

    Exits with 1 where they do not, and says at which step the first difference appears. Examples that Kafka no longer
    holds are taken from a frozen version of them (`headrace snapshot`).
    """
    settings = settings_from(kafka, registry, state, x)
    there = open_pipeline(pipeline, settings)
    models = published(there, settled=True)
    manifest = models[resolve_model(models, model)].manifest
    module, sources = platform_module("headrace.jobs.reproduce"), platform_module("headrace.jobs.train.source")
    source, chunks = sources.examples_of(there, manifest.lineage, data or settings.data_folder)
    with Console(stderr=True).status(f"making {manifest.model_id[:12]} again") as status:
        found = module.reproduce(there, manifest, chunks, status.update)
    if as_json:
        steps = [step._asdict() for step in found.steps]
        said = {"model_id": found.model_id, "again": found.again, "same": found.same, "source": source, "steps": steps}
        typer.echo(json.dumps(said))
    else:
        _show(found, source)
    if not found.same:
        raise typer.Exit(1)


def _show(found: Any, source: str) -> None:
    console = Console()
    table = Table("step", "", Column("what", overflow="fold"), title=f"model {found.model_id[:12]}, made again")
    for step in found.steps:
        outcome = "same" if step.same else "differs"
        table.add_row(step.name, outcome, step.said.replace("[", r"\["), style=None if step.same else "red")
    console.print(table)
    console.print(f"examples from {source}", highlight=False, markup=False)
    if found.same:
        console.print(f"[bold green]the same model: {found.again}[/]", soft_wrap=True)
        return
    first = found.first_difference
    begins = f"; the first difference is in {first.name}" if first else ""
    console.print(f"[bold red]another model: {found.again[:12] or 'none'}, not {found.model_id[:12]}{begins}[/]")
