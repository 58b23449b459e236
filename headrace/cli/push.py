"""``headrace push``: files to the raw topic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from headrace.cli.connect import (
    KafkaOption,
    PipelineName,
    PropertyOption,
    RegistryOption,
    StateOption,
    open_pipeline,
    settings_from,
)
from headrace.cli.extras import platform_module
from headrace.topics.parties import PRODUCER

SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(push)


def push(
    pipeline: PipelineName,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV, JSON lines, Parquet or Avro.")],
    rate: Annotated[float | None, typer.Option(min=0.1, help="Events a second, at most.")] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Replay by event time, so many times as fast as it happened.")
    ] = None,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
) -> None:
    """Push events from files.

    Every row is held to the pipeline's schema at the door. A row that does not fit is reported with its file
    and line, and kept as a dead letter; the others go on. Exits with 1 where there was such a row.
    """
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x, principal=PRODUCER.name))
    producers = platform_module("headrace.producers.files")
    pacing = platform_module("headrace.producers.pacing")
    console = Console(stderr=True)
    pace = pacing.Pace(there.pipeline.event_time, rate=rate, speed=speed) if rate or speed else None
    sent = bad = 0
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        for path in files:
            task = progress.add_task(path.name, total=None)

            def report(row: object, path: Path = path) -> None:
                nonlocal bad
                bad += 1
                if bad <= SHOWN:
                    console.print(f"{path}:{row.line}: {row.reason}", highlight=False, markup=False)  # type: ignore[attr-defined]

            done = producers.push_file(
                there, path, pace=pace, report=report, progress=lambda n, task=task: progress.advance(task, n)
            )
            progress.update(task, total=done.sent + done.bad)
            sent += done.sent
    if bad > SHOWN:
        console.print(f"... and {bad - SHOWN} more")
    typer.echo(f"{sent} events pushed, {bad} rows refused" + (f" (see {there.topic('dead')})" if bad else ""))
    if bad:
        raise typer.Exit(1)
