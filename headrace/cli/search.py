"""``headrace search``: a pipeline's documents in the search engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.connect import JsonOption, PipelineName, connection, opened
from headrace.cli.group import LightGroup
from headrace.cli.progress import Bar, waiting
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.consumers.forward.engine import Engine


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(
        help="Manage a pipeline's documents in the search engine.",
        no_args_is_help=True,
        cls=LightGroup,
        rich_markup_mode=None,
    )
    for command in (status, setup, rebuild, dashboards):
        group.command()(command)
    app.add_typer(group, name="search")


def status(ctx: typer.Context, pipeline: PipelineName, as_json: JsonOption = False) -> None:
    """Count documents, and records still to come.

    The alias in the first column finds a topic's documents. The id of a document is the coordinate of its record:
    TOPIC-PARTITION-OFFSET. headrace audit PIPELINE --search compares documents and records one by one.
    """
    from headrace.consumers.forward.shape import shapes
    from headrace.consumers.forward.state import state

    topics, settings = opened(ctx, pipeline)
    with _engine(settings) as engine, waiting("asking the search engine and reading offsets"):
        rows = state(topics, shapes(topics.pipeline, settings.forward_secret), engine)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    from rich.console import Console

    from headrace.cli.search_screen import shown

    Console().print(shown(topics.pipeline.name, rows))


def setup(ctx: typer.Context, pipeline: PipelineName) -> None:
    """Create a pipeline's index templates.

    Needed only if documents go through Fluentd: the forward processor does it otherwise.
    """
    from headrace.consumers.forward.setup import prepare
    from headrace.consumers.forward.shape import shapes
    from headrace.declare.find import find_pipeline

    settings = connection(ctx).settings()
    found = list(shapes(find_pipeline(pipeline, settings), settings.forward_secret).values())
    with _engine(settings) as engine, waiting("writing index templates"):
        prepare(engine, found)
    typer.echo(f"{len(found)} index templates written: {', '.join(shape.alias for shape in found)}")


def rebuild(
    ctx: typer.Context,
    pipeline: PipelineName,
    topic: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this topic, e.g. predictions; repeatable.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even if documents are lost whose records the log no longer holds.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fill new indices from the log, then swap them in.

    The swap is atomic. Exits with 1 if the engine refused a document.
    """
    from headrace.consumers.forward.rebuild import rebuild as fill
    from headrace.consumers.forward.shape import shapes

    topics, settings = opened(ctx, pipeline)
    found = shapes(topics.pipeline, settings.forward_secret)
    if unknown := [t for t in topic or [] if t not in found]:
        raise ConfigError(f"--topic {unknown[0]}: {pipeline} does not forward it; it forwards {', '.join(found)}")
    with _engine(settings) as engine, Bar("asking the search engine") as bar:
        made = [fill(topics, found[name], engine, force=force, progress=bar) for name in topic or found]
    if as_json:
        typer.echo(json.dumps([vars(m) for m in made]))
    else:
        from headrace.cli.search_screen import rebuilt

        for line in rebuilt(made):
            typer.echo(line)
    raise typer.Exit(1 if any(m.refused for m in made) else 0)


def dashboards(
    ctx: typer.Context,
    pipeline: PipelineName,
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="File to write (ndjson).")],
) -> None:
    """Write dashboards as a file that Kibana imports.

    Needs neither Kafka nor a search engine.
    """
    from headrace.consumers.forward.kibana.export import export
    from headrace.declare.find import find_pipeline

    made = export(find_pipeline(pipeline, connection(ctx).local()))
    try:
        file.write_text(made)
    except OSError as e:
        raise ConfigError(f"{file}: {e.strerror}") from None
    typer.echo(f"dashboards written to {file}: import it in Kibana under Stack Management, Saved Objects")


@contextmanager
def _engine(settings: Settings) -> Iterator[Engine]:
    from headrace.consumers.forward.engine import Engine

    engine = Engine(settings.search)
    try:
        yield engine
    finally:
        engine.close()
