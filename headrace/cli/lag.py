"""``headrace lag``: records that each processor has still to come."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from headrace.cli.connect import JsonOption, PipelineName, opened
from headrace.cli.progress import waiting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(lag)


def lag(ctx: typer.Context, pipeline: PipelineName, as_json: JsonOption = False) -> None:
    """Count the records that each processor has still to come.

    Records, not offsets: at rest it is 0, whatever markers transactions have left. A partition more than 100,000
    offsets behind is told in offsets.
    """
    from headrace.query.lag import group_lags
    from headrace.runner.processors import PROCESSORS

    topics, _ = opened(ctx, pipeline)
    with waiting("counting records"):
        found = group_lags(topics, PROCESSORS)
    if as_json:
        typer.echo(json.dumps([asdict(group) for group in found]))
        return
    from rich.console import Console

    from headrace.cli.tables import name, number, table

    shown = table(
        name("processor"), number("records to come"), number("offsets"), title=f"lag of {topics.pipeline.name}"
    )
    for group in found:
        about = "" if group.counted else "about "
        shown.add_row(group.processor, f"{about}{group.records:,}", f"{group.offsets:,}")
    Console().print(shown)
