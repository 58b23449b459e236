"""``headrace reproduce``: a model trained again from its manifest, to the same bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from headrace.cli.connect import JsonOption, ModelId, PipelineName, opened
from headrace.cli.data import DataOption
from headrace.cli.progress import Bar

if TYPE_CHECKING:
    from headrace.jobs.reproduce import Reproduction


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(reproduce)


def reproduce(
    ctx: typer.Context, pipeline: PipelineName, model: ModelId, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Train a model again: it must come out the same.

    The examples, split, fit and export of its manifest must give the same id. Exits with 1 if they do not, and names
    the first step that differs. Examples that Kafka has dropped are read from a frozen version of them (headrace data
    snapshot).
    """
    from headrace.governance.catalog import published, resolve_model
    from headrace.jobs.reproduce import reproduce as train_again
    from headrace.jobs.train.source import examples_of

    topics, settings = opened(ctx, pipeline)
    with Bar("reading models") as bar:
        models = published(topics, settled=True)
        manifest = models[resolve_model(models, model)].manifest
        source, chunks = examples_of(topics, manifest.lineage, data or settings.data_folder)
        found = train_again(topics, manifest, chunks, lambda step: bar.begins(step, 0))
    if as_json:
        steps = [step._asdict() for step in found.steps]
        said = {"model_id": found.model_id, "again": found.again, "same": found.same, "source": source, "steps": steps}
        typer.echo(json.dumps(said))
    else:
        _show(found, source)
    if not found.same:
        raise typer.Exit(1)


def _show(found: Reproduction, source: str) -> None:
    from rich.console import Console
    from rich.text import Text

    from headrace.cli.tables import fold, name, say, table

    console = Console()
    shown = table(name("step"), name("result"), fold("compared"), title=f"model {found.model_id[:12]}, trained again")
    for step in found.steps:
        outcome = Text("same", "green") if step.same else Text("differs", "bold red")
        shown.add_row(step.name, outcome, Text(step.said))
    console.print(shown)
    say(console, f"examples read from {source}")
    if found.same:
        console.print(Text(f"the same model: {found.again}", "bold green"), soft_wrap=True)
        return
    first = found.first_difference
    begins = f"; the first difference is in {first.name}" if first else ""
    say(console, f"a different model: {found.again[:12] or 'none'}, not {found.model_id[:12]}{begins}", "bold red")
