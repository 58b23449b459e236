"""``headrace check``: a user's functions held to their contract, without a server."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connect import JsonOption, PipelineName


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(check)


def check(
    pipeline: PipelineName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Events: CSV, JSON lines, Parquet or Avro.")],
    limit: Annotated[int, typer.Option(min=10, help="Check the first events of the file, so many at most.")] = 5_000,
    cuts: Annotated[int, typer.Option(min=1, help="Places at which each check cuts the log.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Check features() and labels() on events of a file.

    No server is needed. The rows must not depend on later events, on how the log is cut into batches (so the horizon
    must suffice), or on anything but the events; and every row must hold numbers that a model can take. Exits with 1
    if a check fails.
    """
    from rich.console import Console
    from rich.table import Column, Table

    from headrace.config import load_settings
    from headrace.declare.find import find_pipeline
    from headrace.testing import examine_features, read_events

    declared = find_pipeline(pipeline, load_settings())
    console = Console(stderr=True)
    with console.status(f"checking {file}"):
        events = read_events(declared, file).head(limit)
        findings = examine_features(declared, events, cuts=cuts)
    ok = all(f.passed for f in findings)
    if as_json:
        typer.echo(json.dumps({"ok": ok, "events": events.height, "checks": [asdict(f) for f in findings]}))
    else:
        table = Table(
            "check", Column("rows", justify="right"), "", title=f"{declared.name} on {events.height:,} events"
        )
        for f in findings:
            table.add_row(f.check, f"{f.rows:,}", "passed" if f.passed else "FAILED")
        out = Console()
        out.print(table)
        for f in findings:
            if not f.passed:
                out.print(f"{f.check}: {f.problem}. {f.mend}.", style="red", highlight=False, markup=False)
    if not ok:
        raise typer.Exit(1)
