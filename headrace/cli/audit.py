"""``headrace audit``: what the platform promises, decided from the topics alone."""

from __future__ import annotations

import json
from typing import Annotated

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
from headrace.cli.times import window
from headrace.config import Settings
from headrace.models.package.signing import Trust
from headrace.query.audit.audit import audit as judge
from headrace.query.audit.report import RULES, Report
from headrace.query.audit.scope import Window
from headrace.topics.pipeline_topics import PipelineTopics

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
            help="Run the pipeline's functions and models again, to see whether a result is missing or another."
        ),
    ] = True,
    search: Annotated[
        bool, typer.Option("--search", help="Hold the search engine's documents against the log too.")
    ] = False,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide from the topics alone whether every promise was kept. Exits with 1 where one was not.

    Each input has one outcome, each outcome its input; order is kept; no transaction is stuck; nothing came of an
    aborted record; models are whole; each record was scored by the model in force at its offset, and scored again it
    gives the same bits; each activation was approved on the evidence before it. It can run while the pipeline does.
    """
    judged = window(since, until)
    settings = settings_from(kafka, registry, state, x)
    there = open_pipeline(pipeline, settings)
    again = platform_module("headrace.runner.recompute").recompute if recompute else None
    with Bar() as bar:
        report = judge(there, again, Trust.of(settings), judged, bar, replay=recompute)
        if search:
            hold_to_search(there, settings, report, judged, bar)
    if as_json:
        typer.echo(json.dumps(report.plain()))
    else:
        _show(report, pipeline)
    if not report.ok:
        raise typer.Exit(1)


def hold_to_search(topics: PipelineTopics, settings: Settings, report: Report, judged: Window, bar: Bar) -> None:
    """The audit's last rule, which needs the search engine."""
    shape, engine, indexed = (
        platform_module(f"headrace.consumers.forward.{n}", "forward") for n in ("shape", "engine", "indexed")
    )
    there = engine.Engine(settings.search)
    try:
        indexed.indexed(topics, shape.shapes(topics.pipeline, settings.forward_secret), there, report, judged, bar)
    finally:
        there.close()


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
