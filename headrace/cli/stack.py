"""``headrace up``, ``down`` and ``status``: the embedded Kafka, schema registry and search engine."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.connect import JsonOption, connection
from headrace.cli.progress import LINE
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.embedded.stack import Description

EXTRAS = ("search",)
"""What ``--with`` knows."""


def register(app: typer.Typer) -> None:
    """Add the three commands to ``app``."""
    for command in (up, down, status):
        app.command()(command)


def up(
    ctx: typer.Context,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the data of earlier runs first.")] = False,
    secure: Annotated[
        bool,
        typer.Option("--secure", help="Use TLS, a password for each processor and ACLs; commands read the passwords."),
    ] = False,
    extras: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAME", help="Also start: search (OpenSearch, local, without a password)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start Kafka and a schema registry on this machine.

    They need no containers and run until headrace down.
    """
    if unknown := [word for word in extras or [] if word not in EXTRAS]:
        raise ConfigError(f"--with {unknown[0]}: not known; what can be started too is {', '.join(EXTRAS)}")
    _begin()
    from rich.console import Console

    from headrace.embedded import control
    from headrace.runner.processors import PRINCIPALS

    stack = control.up(
        connection(ctx).local().state,
        fresh=fresh,
        principals=PRINCIPALS if secure else (),
        with_search="search" in (extras or []),
        console=Console(stderr=True),
    )
    if as_json:
        typer.echo(json.dumps(stack))
    else:
        _show(stack)


def down(ctx: typer.Context) -> None:
    """Stop what headrace up started. The data is kept for the next headrace up."""
    _begin()
    from headrace.embedded import control

    folder = connection(ctx).local().state
    stopped = control.down(folder)
    typer.echo(f"the stack in {folder} is stopped" if stopped else f"no stack runs in {folder}")


def status(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Show the addresses of the embedded stack, and the workers that headrace run supervises. Exits with 1 if no stack
    runs.
    """
    _begin()
    from headrace.embedded import control
    from headrace.runner.supervisor import supervised

    folder = connection(ctx).local().state
    found, running = control.status(folder), supervised(folder)
    if as_json:
        typer.echo(json.dumps({**found, "supervised": running}))
    elif found["kafka"] is not None:
        _show(found)
    else:
        typer.echo(f"no stack runs in {folder}: start one with `headrace up`")
    if running and not as_json:
        _show_workers(running)
    if found["kafka"] is None:
        raise typer.Exit(1)


def _show(stack: Description) -> None:
    from rich.console import Console

    from headrace.cli.tables import fold, name, table

    shown = table(name("server"), name("process"), fold("address and log"))
    if (kafka := stack["kafka"]) is not None:
        shown.add_row("Kafka", str(kafka["pid"]), f"{kafka['bootstrap']}\n{_short(kafka['log'])}")
    if (registry := stack["registry"]) is not None:
        shown.add_row("registry", str(registry["pid"]), f"{registry['url']}\n{_short(registry['log'])}")
    if (search := stack["search"]) is not None:
        shown.add_row("search", str(search["pid"]), f"{search['url']}\n{_short(search['log'])}")
    Console().print(shown)


def _show_workers(running: list[dict[str, Any]]) -> None:
    from rich.console import Console

    from headrace.cli.tables import fold, name, number, table

    for told in running:
        title = f"workers of {told['pipeline']}, supervised by process {told['pid']}"
        columns = (name("worker"), name("state"), name("process"), number("restarts"), fold("health, or last words"))
        shown = table(*columns, title=title)
        for worker, state in told["workers"].items():
            runs = state["state"] == "running"
            shown.add_row(
                worker,
                state["state"],
                str(state["pid"]) if runs else "",
                str(state["restarts"]),
                state["health"] if runs else state["said"],
            )
        Console().print(shown)


def _short(path: str) -> str:
    return min(path, os.path.relpath(path), key=len)


def _begin() -> None:
    """These commands say themselves what they wait for; refuse where the embedded stack cannot run.

    Raises:
        ConfigError: this is Windows.
    """
    LINE.end()
    if sys.platform == "win32":
        raise ConfigError("the embedded stack runs on Linux and macOS; name your own Kafka with --kafka and --registry")
