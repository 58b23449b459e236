"""``headrace watch``: a pipeline live, on the terminal."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.connect import JsonOption, PipelineName, opened
from headrace.cli.progress import waiting

if TYPE_CHECKING:
    from rich.console import Console

    from headrace.query.watch.look import Watch


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(watch)


def watch(
    ctx: typer.Context,
    pipeline: PipelineName,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="Seconds between looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one screen and end (two looks, to see rates).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Watch a pipeline live. Ctrl-C ends it.

    Shows rates, lag, the model in force by partition, accuracy, drift and decisions. Reads topics and group offsets
    only, so that it works from any machine. In a pipe it prints screen after screen as plain text; with --json, one
    object a line.
    """
    from rich.console import Console

    from headrace.query.watch.look import Watch
    from headrace.runner.processors import PROCESSORS

    topics, _ = opened(ctx, pipeline, client_id="headrace-watch")
    console = Console()
    with waiting("reading decisions, metrics and offsets"):
        under = Watch(topics, tuple(PROCESSORS))
        under.look()
    try:
        if console.is_terminal and not once and not as_json:
            _live(under, every, console)
        else:
            _printed(under, every, console, once=once, as_json=as_json)
    except KeyboardInterrupt:
        pass
    finally:
        under.close()


def _printed(under: Watch, every: float, console: Console, *, once: bool, as_json: bool) -> None:
    """Screens as text, or as JSON, one after the other."""
    from headrace.cli.watch_screen import screen

    while True:
        with waiting("looking again, to see rates"):
            time.sleep(every)
            view = under.look()
        if as_json:
            typer.echo(json.dumps(view.plain()))
        else:
            console.print(screen(view, console.width))
            console.file.flush()
        if once:
            return
        if not as_json:
            console.print()


def _live(under: Watch, every: float, console: Console) -> None:
    from rich.live import Live

    from headrace.cli.watch_screen import screen
    from headrace.errors import Unavailable

    away = ""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                live.update(screen(under.look(), console.width), refresh=True)
                away = ""
            except Unavailable as e:
                if not away:
                    live.console.print(f"waiting: {e}", style="yellow", markup=False)
                away = str(e)
            time.sleep(every)
