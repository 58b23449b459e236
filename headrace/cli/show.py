"""``headrace show``: the records of a topic, decoded."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from headrace.cli.connect import PipelineName, opened
from headrace.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(show)


def show(
    ctx: typer.Context,
    pipeline: PipelineName,
    topic: Annotated[
        str,
        typer.Argument(
            metavar="TOPIC", show_default=False, help="Its name within the pipeline, e.g. raw: see headrace topics."
        ),
    ],
    partition: Annotated[int | None, typer.Option(min=0, help="Only this partition.")] = None,
    start: Annotated[
        int | None, typer.Option("--from", metavar="OFFSET", min=0, help="Start at this offset of each partition.")
    ] = None,
    last: Annotated[
        int | None, typer.Option("--last", metavar="N", min=1, help="The last N of each partition.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Print at most this many records.")] = 100,
) -> None:
    """Print a topic's records, one JSON object a line.

    An object holds partition, offset, key, record type and values. A record that cannot be decoded is printed with its
    error and its bytes as hex.
    """
    if start is not None and last is not None:
        raise ConfigError("--from and --last: give one of them")
    from headrace.query.records import Asked, records_of

    topics, _ = opened(ctx, pipeline)
    for record in records_of(topics, topic, Asked(partition, start, last, limit)):
        typer.echo(json.dumps(record))
