"""``headrace audit``: every promise of the platform, checked on the log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.connect import JsonOption, PipelineName, opened
from headrace.cli.progress import Bar

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.query.audit.report import Report
    from headrace.query.audit.scope import Window
    from headrace.topics.pipeline_topics import PipelineTopics


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(audit)


def audit(
    ctx: typer.Context,
    pipeline: PipelineName,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Only inputs appended since then (ISO 8601, UTC).")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Only inputs appended before then (ISO 8601, UTC).")
    ] = None,
    recompute: Annotated[
        bool,
        typer.Option(help="Also run the pipeline's functions and models again, to find missing or different results."),
    ] = True,
    search: Annotated[
        bool, typer.Option("--search", help="Also compare the search engine's documents with the log.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check on the topics that every promise was kept.

    Exits with 1 if one was not. Each input has one outcome and each outcome its input; order is kept; no transaction
    hangs; no aborted record had an effect; models are whole; each record was scored by the model in force at its
    offset, and gives the same bits when scored again; each activation was approved on the evidence before it. The
    pipeline may run meanwhile.
    """
    from headrace.cli.times import window

    judged = window(since, until)
    from headrace.models.package.signing import Trust
    from headrace.query.audit.audit import audit as judge
    from headrace.runner.recompute import recompute as run_again

    topics, settings = opened(ctx, pipeline)
    with Bar("reading offsets, waiting for open transactions to end") as bar:
        report = judge(topics, run_again if recompute else None, Trust.of(settings), judged, bar, replay=recompute)
        if search:
            compare_search(topics, settings, report, judged, bar)
    if as_json:
        typer.echo(json.dumps(report.plain()))
    else:
        from rich.console import Console

        from headrace.cli.audit_screen import show

        show(report, topics.pipeline.name, Console())
    if not report.ok:
        raise typer.Exit(1)


def compare_search(topics: PipelineTopics, settings: Settings, report: Report, judged: Window, bar: Bar) -> None:
    """The audit's last rule, which needs the search engine."""
    from headrace.consumers.forward.engine import Engine
    from headrace.consumers.forward.indexed import indexed
    from headrace.consumers.forward.shape import shapes

    engine = Engine(settings.search)
    try:
        indexed(topics, shapes(topics.pipeline, settings.forward_secret), engine, report, judged, bar)
    finally:
        engine.close()
