"""``headrace whatif``: the past of a pipeline under another model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connect import JsonOption, ModelId, PipelineName, opened
from headrace.cli.progress import Bar
from headrace.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(whatif)


def whatif(
    ctx: typer.Context,
    pipeline: PipelineName,
    model: ModelId,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Only records appended since then (ISO 8601, UTC)."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Only records appended before then (ISO 8601, UTC).")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Score from which a decision is yes.")] = 0.5,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as one page, with plots.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what another model would have answered in the past.

    Nothing is written to the log, and nobody has to approve it. Compares it with production on the labels that came
    later: figures of both, over time and by group, the decisions that would change, and the records on which the two
    differ most. Records that a model was trained on are reported apart.
    """
    from headrace.cli.times import window

    asked = window(since, until)
    if html is not None:
        _writable(html)
    from headrace.jobs.whatif.run import what_if
    from headrace.models.package.signing import Trust

    topics, settings = opened(ctx, pipeline)
    with Bar("reading models and decisions") as bar:
        report = what_if(topics, model, Trust.of(settings), asked, threshold, bar)
    if html is not None:
        from headrace.jobs.whatif.page import page

        html.write_text(page(report), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(report.plain(), allow_nan=False))
    else:
        from rich.console import Console

        from headrace.cli.whatif_screen import show

        show(report, Console())
    if html is not None:
        typer.echo(f"page written to {html}", err=as_json)


def _writable(file: Path) -> None:
    """Said before the log is read, not after.

    Raises:
        ConfigError: the file is a folder, or its folder does not exist.
    """
    if file.is_dir():
        raise ConfigError(f"--html {file}: that is a folder; name a file in it")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"--html {file}: there is no folder {file.parent}; make it first")
