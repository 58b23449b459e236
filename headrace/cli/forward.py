"""``headrace forward``: what is in the search engine, and how to make it anew from the log."""

from __future__ import annotations

import json
from pathlib import Path
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
from headrace.cli.extras import platform_module
from headrace.cli.progress import Bar
from headrace.config import load_settings
from headrace.declare.find import find_pipeline
from headrace.errors import ConfigError

SHOWN = 5
"""Refusals that are printed."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(forward)


def forward(
    pipeline: PipelineName,
    setup: Annotated[
        bool,
        typer.Option(
            "--setup",
            help="Put the index templates there and end. `headrace run forward` does so itself, but for those who go "
            "through Fluentd.",
        ),
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Make the indices anew from the log, beside the old ones, and put them in their place at one stroke.",
        ),
    ] = False,
    topic: Annotated[
        list[str] | None, typer.Option(help="With --rebuild: this topic alone, e.g. predictions; repeatable.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --rebuild: even where documents go that the log holds no records of.")
    ] = False,
    kibana: Annotated[
        Path | None,
        typer.Option(help="Write the pipeline's dashboards into this file (ndjson), which Kibana imports, and end."),
    ] = None,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what of a pipeline is in the search engine and how far behind that is. `headrace run forward` fills it.

    Documents are found under the names in the first column, one for each topic that the pipeline forwards. Each one's
    id is where its record stands in the log: TOPIC-PARTITION-OFFSET. `headrace audit PIPELINE --search` holds the one
    against the other.
    """
    if (topic or force) and not rebuild:
        raise ConfigError("--topic and --force say what --rebuild does: give that too")
    if kibana is not None:
        _write_dashboards(pipeline, kibana)
        return
    settings = settings_from(kafka, registry, state, x)
    topics = open_pipeline(pipeline, settings)
    parts = {
        n: platform_module(f"headrace.consumers.forward.{n}", "forward")
        for n in ("shape", "engine", "setup", "rebuild", "state")
    }
    shapes = parts["shape"].shapes(topics.pipeline, settings.forward_secret)
    if unknown := [t for t in topic or [] if t not in shapes]:
        raise ConfigError(f"--topic {unknown[0]}: not forwarded by {pipeline}; what is: {', '.join(shapes)}")
    engine = parts["engine"].Engine(settings.search)
    try:
        if setup:
            parts["setup"].prepare(engine, list(shapes.values()))
        if rebuild:
            with Bar() as bar:
                made = [
                    parts["rebuild"].rebuild(topics, shapes[name], engine, force=force, progress=bar)
                    for name in topic or shapes
                ]
            _show_rebuilt(made, as_json)
            raise typer.Exit(1 if any(m.refused for m in made) else 0)
        rows = parts["state"].state(topics, shapes, engine)
    finally:
        engine.close()
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        _show(rows, pipeline)


def _write_dashboards(pipeline: str, file: Path) -> None:
    """Needs neither Kafka nor a search engine: what is declared says it all."""
    made = platform_module("headrace.consumers.forward.kibana.export", "forward").export(
        find_pipeline(pipeline, load_settings())
    )
    try:
        file.write_text(made)
    except OSError as e:
        raise ConfigError(f"--kibana {file}: {e.strerror}") from None


def _show(rows: list[dict[str, Any]], pipeline: str) -> None:
    table = Table(
        Column("found under", no_wrap=True),
        Column("indices", justify="right"),
        Column("documents", justify="right"),
        Column("passed on", justify="right"),
        Column("to come", justify="right"),
        title=f"{pipeline} in the search engine",
    )
    for row in rows:
        counts = (f"{row[n]:,}" for n in ("indices", "documents", "passed", "lag"))
        table.add_row(row["alias"], *counts, style="yellow" if row["lag"] else None)
    Console().print(table)


def _show_rebuilt(made: list[Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([vars(m) for m in made]))
        return
    for m in made:
        typer.echo(
            f"{m.topic}: {m.documents:,} documents; new indices: {len(m.indices)}, old ones gone: {len(m.dropped)}"
        )
        for why in m.refused[:SHOWN]:
            typer.echo(f"  refused: {why}")
        if len(m.refused) > SHOWN:
            typer.echo(f"  and {len(m.refused) - SHOWN:,} more refused")
