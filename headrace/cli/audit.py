"""``headrace audit``: what the platform promises, decided from the topics alone."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from headrace.audit.audit import Progress as Told
from headrace.audit.audit import audit as judge
from headrace.audit.report import RULES, Report
from headrace.audit.scope import Window
from headrace.cli.bar import Bar
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
from headrace.cli.times import time_given
from headrace.models.signing import Trust

SHOWN = 50


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(audit)


def audit(
    pipeline: PipelineName,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Judge inputs that came from then on (ISO 8601, UTC).")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Judge inputs that came before then (ISO 8601, UTC).")
    ] = None,
    recompute: Annotated[
        bool,
        typer.Option(
            help="Run the pipeline's own functions again, to see whether a result is missing that no topic tells of."
        ),
    ] = True,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide from the topics alone whether every promise was kept. Exits with 1 where one was not.

    Each input has one outcome, each outcome its input; order is kept; no transaction is stuck; nothing came of an
    aborted record; models are whole; each record was scored by the model in force at its offset; each activation was
    approved on the evidence before it. It can run while the pipeline does.
    """
    window = Window(time_given("--from", since), time_given("--to", until))
    settings = settings_from(kafka, registry, state, x)
    there = open_pipeline(pipeline, settings)
    again = platform_module("streams.recompute").recompute if recompute else None
    with Bar() as bar:
        report = judge(there, again, Trust.of(settings), window, _Told(bar))
    if as_json:
        typer.echo(json.dumps(report.plain()))
    else:
        _show(report, pipeline)
    if not report.ok:
        raise typer.Exit(1)


class _Told(Told):
    """Shows how far an audit has come."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def begins(self, records: int) -> None:
        self._bar.begins("reading", records)

    def advanced(self, records: int) -> None:
        self._bar.advanced(records)


def _show(report: Report, pipeline: str) -> None:
    console = Console()
    table = Table(
        Column("rule", overflow="fold"),
        Column("about", no_wrap=True),
        Column("checked", justify="right"),
        Column("violations", justify="right"),
        title=f"audit of {pipeline}",
    )
    order = list(RULES)
    last = ""
    for (rule, subject), line in sorted(report.lines.items(), key=lambda item: order.index(item[0][0])):
        said = RULES[rule] if rule != last else ""
        last = rule
        style = "bold red" if line.broken else None
        table.add_row(said, subject, f"{line.checked:,}", f"{line.broken:,}", style=style)
    console.print(table)
    for what, count in report.notes.items():
        console.print(f"{count:,} {what}", highlight=False)
    if report.violations:
        found = Table(
            Column("rule", no_wrap=True), Column("where", overflow="fold"), "what is wrong", title="violations"
        )
        for v in report.violations[:SHOWN]:
            found.add_row(v.rule, v.where, v.what)
        console.print(found)
        if len(report.violations) > SHOWN:
            console.print(f"and {len(report.violations) - SHOWN:,} more listed with --json")
    console.print("[bold green]every promise was kept[/]" if report.ok else "[bold red]promises were broken[/]")
