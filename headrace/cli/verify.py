"""``headrace verify``: predictions made again and compared bit for bit with the log."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from headrace.cli.connect import JsonOption, PipelineName, opened
from headrace.cli.progress import Bar

TIME_OR_OFFSETS = "TIME|OFFSETS"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(verify)


def verify(
    ctx: typer.Context,
    pipeline: PipelineName,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar=TIME_OR_OFFSETS,
            help="Only features appended since then (ISO 8601, UTC), or from these offsets on, e.g. 0:1500,1:20.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--to", metavar=TIME_OR_OFFSETS, help="Only features appended before then, or before these offsets."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score the past again and compare it with the predictions.

    Bit for bit; nothing is written. Each record is scored by the code of the infer processor, with the model that the
    policy in force at its offset names. Exits with 1 if a prediction differs, is missing, or was made twice.
    """
    from headrace.cli.times import bounds

    asked = bounds(since, until)
    from headrace.models.package.signing import Trust
    from headrace.query.replay.verify import verify as score_again

    topics, settings = opened(ctx, pipeline)
    with Bar("reading decisions") as bar:
        found = score_again(topics, Trust.of(settings), asked, bar)
    if as_json:
        typer.echo(json.dumps(found.plain(topics)))
    else:
        from rich.console import Console

        from headrace.cli.verify_screen import show

        show(found, topics.pipeline.name, Console())
    if not found.ok:
        raise typer.Exit(1)
