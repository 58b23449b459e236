"""``headrace models``: what was published and decided, and models as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

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
from headrace.errors import ConfigError
from headrace.governance.catalog import published, resolve_model
from headrace.models.package.signing import MODEL, SIGNATURE, lay_out
from headrace.models.package.topic import fetch
from headrace.query.models import model_views


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="The models of a pipeline.", no_args_is_help=True)
    group.command("list")(list_models)
    group.command()(export)
    app.add_typer(group, name="models")


def list_models(
    pipeline: PipelineName,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every model: what it was made of, its figures, its gates, and where its rule began."""
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x))
    rows = [view.plain() for view in model_views(there)]
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
            f"{row['state']}: {row['detail']}" if row["detail"] else row["state"],
        )
    Console().print(table)


def export(
    pipeline: PipelineName,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model id, or as much of its start as is unique.")],
    to: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write to; made where it is not there.")],
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
) -> None:
    """Write a model's files, checked against its digests: model/model.onnx, model/manifest.json and model.sig.

    Whoever has the public key can check them without headrace:
    model_signing verify key FOLDER/model --signature FOLDER/model.sig --public_key KEY.pub
    """
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x))
    models = published(there)
    found = models[resolve_model(models, model)]
    if (to / MODEL).exists():
        raise ConfigError(f"{to / MODEL} is there already: name another folder")
    folder = lay_out(fetch(there, there.log, found.manifest, found.offset), to)
    signed = f", signed: {to / SIGNATURE}" if found.manifest.signature else "; it is not signed"
    typer.echo(f"model {found.manifest.model_id[:12]} written to {folder}{signed}")
