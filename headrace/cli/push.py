"""``headrace push``: files to the raw topic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.connect import PipelineName, opened
from headrace.cli.troubles import tell_troubles
from headrace.errors import HeadraceError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from headrace.producers.files import BadRow

SHOWN = 20
"""Refused rows that are printed."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(push)


def push(
    ctx: typer.Context,
    pipeline: PipelineName,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", show_default=False, help="CSV, JSON lines, Parquet or Avro.")
    ],
    rate: Annotated[float | None, typer.Option(min=0.1, help="Events a second, at most.")] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Replay by event time, this many times as fast as it happened.")
    ] = None,
) -> None:
    """Push events from files to a pipeline's raw topic.

    Each row is checked against the pipeline's schema. A row that does not fit is reported with its file and line and
    kept as a dead letter; the others are pushed. Exits with 1 if there was such a row.
    """
    from rich.console import Console

    from headrace.producers.files import push_file
    from headrace.producers.pacing import Pace
    from headrace.topics.parties import PRODUCER

    topics, _ = opened(ctx, pipeline, principal=PRODUCER.name)
    console = Console(stderr=True)
    pace = Pace(topics.pipeline.event_time, rate=rate, speed=speed) if rate or speed else None
    refusals = _Refusals(console)
    sent = 0
    with _bars(console) as bars:
        for path in files:
            task = bars.add_task(path.name, total=None)
            refusals.path = path

            def advance(rows: int, task: TaskID = task) -> None:
                bars.advance(task, rows)

            done = push_file(topics, path, pace=pace, report=refusals.take, progress=advance)
            bars.update(task, total=done.sent + done.bad)
            sent += done.sent
    refusals.rest()
    typer.echo(f"{sent:,} events pushed, {refusals.count:,} rows refused")
    with suppress(HeadraceError):  # a producer may have no right to look what became of earlier events
        tell_troubles(opened(ctx, pipeline)[0])
    if refusals.count:
        typer.echo(f"next: `headrace dead list {pipeline} --stage push` lists them; mend the file and push those again")
        raise typer.Exit(1)
    typer.echo(f"next: `headrace watch {pipeline}` shows what becomes of them")


class _Refusals:
    """Rows that were refused: the first are printed, all are counted."""

    def __init__(self, console: Console) -> None:
        self.count = 0
        self.path = Path()
        self._console = console

    def take(self, row: BadRow) -> None:
        self.count += 1
        if self.count <= SHOWN:
            self._console.print(f"{self.path}:{row.line}: {row.reason}", highlight=False, markup=False, soft_wrap=True)

    def rest(self) -> None:
        if self.count > SHOWN:
            self._console.print(f"... and {self.count - SHOWN:,} more")


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    """A bar for each file; where standard error is no terminal, none is drawn."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        yield bars
