"""``headrace topics``: what each topic of a pipeline carries, who uses it, and how far it reaches."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from headrace.cli.connect import JsonOption, PipelineName, opened
from headrace.cli.progress import Bar, waiting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(topics)


def topics(
    ctx: typer.Context,
    pipeline: PipelineName,
    count: Annotated[
        bool, typer.Option("--count", help="Read every topic and count its records: seconds per million.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a pipeline's topics, who uses them, and their offsets.

    Offsets are more than records: each transaction ends with an offset that holds no record, and aborted records keep
    theirs. --count tells the records.
    """
    from headrace.query.topics import count_records, topic_views

    found, _ = opened(ctx, pipeline)
    with waiting("reading offsets"):
        views = topic_views(found)
    if count:
        with Bar("counting records") as bar:
            views = count_records(found, views, bar)
    if as_json:
        typer.echo(json.dumps({view.name: view.plain() for view in views}))
        return
    from rich.console import Console

    from headrace.cli.topics_screen import shown

    Console().print(shown(found.pipeline.name, views))
