"""``headrace models``: the models of a pipeline, and what people decide on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connect import JsonOption, ModelId, PipelineName, opened
from headrace.cli.decide import approve, reject, rollback, train
from headrace.cli.group import LightGroup
from headrace.cli.progress import waiting
from headrace.cli.troubles import tell_troubles
from headrace.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(
        help="List, train, approve, reject and roll back models.",
        no_args_is_help=True,
        cls=LightGroup,
        rich_markup_mode=None,
    )
    group.command("list")(list_models)
    for command in (show, export, train, approve, reject, rollback, move):
        group.command()(command)
    app.add_typer(group, name="models")


def list_models(ctx: typer.Context, pipeline: PipelineName, as_json: JsonOption = False) -> None:
    """List every model with its figures, gates and state.

    Also shows where each champion came into force: activation, and offset of each partition.
    """
    from headrace.query.models import model_views

    topics, _ = opened(ctx, pipeline)
    with waiting("reading models and decisions"):
        views = model_views(topics)
    if as_json:
        typer.echo(json.dumps([view.plain() for view in views]))
        return
    from rich.console import Console

    from headrace.cli.models_screen import listed

    console = Console()
    console.print(listed(topics.pipeline.name, views, console.width))
    tell_troubles(topics)


def show(ctx: typer.Context, pipeline: PipelineName, model: ModelId, as_json: JsonOption = False) -> None:
    """Show one model: examples, figures, gates, history."""
    from headrace.client.models import Models
    from headrace.models.package.signing import Trust

    topics, settings = opened(ctx, pipeline)
    with waiting("reading models and decisions"):
        found = Models(topics, Trust.of(settings)).find(model)
    from headrace.cli.models_screen import details_of, plain

    if as_json:
        typer.echo(json.dumps(plain(found)))
        return
    from rich.console import Console

    Console().print(details_of(topics.pipeline.name, found))


def export(
    ctx: typer.Context,
    pipeline: PipelineName,
    model: ModelId,
    to: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", show_default=False, help="Folder to write to; created if it does not exist."),
    ],
) -> None:
    """Write a model's files, checked against its digests.

    The files are model/model.onnx, model/manifest.json and model.sig. Anyone with the public key can check them without
    headrace:
    model_signing verify key FOLDER/model --signature FOLDER/model.sig --public_key KEY.pub
    """
    from headrace.governance.catalog import published, resolve_model
    from headrace.models.package.signing import MODEL, SIGNATURE, lay_out
    from headrace.models.package.topic import fetch

    topics, _ = opened(ctx, pipeline)
    with waiting("reading the model"):
        models = published(topics)
        found = models[resolve_model(models, model)]
        if (to / MODEL).exists():
            raise ConfigError(f"{to / MODEL} exists already: name another folder")
        folder = lay_out(fetch(topics, topics.log, found.manifest, found.offset), to)
    signed = f", signed: {to / SIGNATURE}" if found.manifest.signature else "; it is not signed"
    typer.echo(f"model {found.manifest.model_id[:12]} written to {folder}{signed}")


def move(ctx: typer.Context, pipeline: PipelineName) -> None:
    """Move models of earlier versions to the topics of this one.

    Versions before model_chunks wrote the chunks of models to the models topic, which every worker reads as it starts.
    Run this once every process is upgraded: earlier versions cannot load a model that was moved. Safe to repeat.
    """
    from headrace.models.package.move import move as moving

    topics, _ = opened(ctx, pipeline)
    with waiting("writing models to their new topics"):
        moved = moving(topics)
    for why in moved.left.values():
        typer.echo(f"not moved: {why}", err=True)
    typer.echo(f"{len(moved.models)} models moved to {topics.topic('model_chunks')}")
    if moved.left:
        raise typer.Exit(1)
