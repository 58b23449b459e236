"""``headrace watch``: a pipeline as it goes, on the terminal."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

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
from headrace.cli.watch_screen import screen
from headrace.errors import Unavailable
from headrace.query.watch.look import Watch
from headrace.runner.processors import PROCESSORS


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(watch)


def watch(
    pipeline: PipelineName,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look twice, so as to see rates, print that and end.")] = False,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch a pipeline live: rates, lag, the model in force by partition, accuracy, drift, the last decisions.

    Everything comes from the topics and the groups' offsets, so it can be watched from anywhere; Ctrl-C ends it.
    With --json, one object a line for each look.
    """
    settings = settings_from(kafka, registry, state, x)
    under = Watch(open_pipeline(pipeline, settings, "headrace-watch"), tuple(PROCESSORS))
    console = Console()
    try:
        if once:
            under.look()
            time.sleep(every)
            view = under.look()
            typer.echo(json.dumps(view.plain())) if as_json else console.print(screen(view))
        elif as_json:
            while True:
                typer.echo(json.dumps(under.look().plain()))
                time.sleep(every)
        else:
            _live(under, every, console)
    except KeyboardInterrupt:
        pass
    finally:
        under.close()


def _live(under: Watch, every: float, console: Console) -> None:
    away = ""
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            try:
                live.update(screen(under.look()), refresh=True)
                away = ""
            except Unavailable as e:
                if not away:
                    live.console.print(f"waiting: {e}", style="yellow", markup=False)
                away = str(e)
            time.sleep(every)
