"""``headrace check``: a user's functions held to their contract, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connect import JsonOption, PipelineName, connection


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(check)


def check(
    ctx: typer.Context,
    pipeline: PipelineName,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="Events: CSV, JSON lines, Parquet or Avro.")
    ],
    limit: Annotated[int, typer.Option(min=10, help="Check the first events of the file, so many at most.")] = 5_000,
    cuts: Annotated[int, typer.Option(min=1, help="Places at which each check cuts the log.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Check features() and labels() on events of a file.

    No server is needed. The rows must not depend on later events, on how the log is cut into batches (so the horizon
    must suffice), or on anything but the events; and every row must hold numbers that a model can take. Exits with 1
    if a check fails.
    """
    from dataclasses import asdict

    from rich.console import Console

    from headrace.cli.progress import waiting
    from headrace.cli.tables import fold, name, number, say, table
    from headrace.declare.find import find_pipeline
    from headrace.testing import examine_features, read_events

    with waiting(f"checking {file}"):
        declared = find_pipeline(pipeline, connection(ctx).local())
        events = read_events(declared, file).head(limit)
        findings = examine_features(declared, events, cuts=cuts)
    ok = all(f.passed for f in findings)
    if as_json:
        typer.echo(json.dumps({"ok": ok, "events": events.height, "checks": [asdict(f) for f in findings]}))
    else:
        console = Console()
        shown = table(
            fold("check"), number("rows"), name("verdict"), title=f"{declared.name} on {events.height:,} events"
        )
        for f in findings:
            shown.add_row(f.check, f"{f.rows:,}", "passed" if f.passed else "FAILED")
        console.print(shown)
        for f in findings:
            if not f.passed:
                say(console, f"{f.check}: {f.problem}. {f.mend}.", "red")
    if not ok:
        raise typer.Exit(1)
