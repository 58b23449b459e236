"""``headrace up``, ``down`` and ``status``: the embedded Kafka, schema registry and search engine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from headrace.config import load_settings
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.embedded.stack import Description

State = Annotated[
    Path | None, typer.Option("--state", help="Folder of the stack's data and logs (default: .headrace).")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EXTRAS = ("search",)
"""What ``--with`` knows."""


def register(app: typer.Typer) -> None:
    """Add the three commands to ``app``."""
    for command in (up, down, status):
        app.command()(command)


def up(
    state: State = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin with no data: the old is deleted.")] = False,
    secure: Annotated[
        bool,
        typer.Option("--secure", help="TLS, a password for each processor, ACLs; commands here know the passwords."),
    ] = False,
    extras: Annotated[
        list[str] | None,
        typer.Option("--with", help="Start this too: search (OpenSearch, on the loopback, without passwords)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start Kafka and a schema registry here, without containers. They run until `headrace down`."""
    if unknown := [word for word in extras or [] if word not in EXTRAS]:
        raise ConfigError(f"--with {unknown[0]}: not known; what can be started too is {', '.join(EXTRAS)}")
    folder = load_settings(state=state).state
    console, with_search = Console(stderr=True), "search" in (extras or [])
    _show(_control().up(folder, fresh=fresh, secure=secure, with_search=with_search, console=console), as_json)


def down(state: State = None) -> None:
    """Stop what `headrace up` started. The data stays for the next `up`."""
    folder = load_settings(state=state).state
    stopped = _control().down(folder)
    typer.echo(f"the stack in {folder} is stopped" if stopped else f"no stack runs in {folder}")


def status(state: State = None, as_json: Json = False) -> None:
    """Say where the stack is. Exits with 1 where none runs."""
    folder = load_settings(state=state).state
    found = _control().status(folder)
    if found["kafka"] is not None or as_json:
        _show(found, as_json)
    else:
        typer.echo(f"no stack runs in {folder}: start one with `headrace up`")
    if found["kafka"] is None:
        raise typer.Exit(1)


def _show(stack: Description, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(stack))
        return
    table = Table("", "process", Column("address and log", overflow="fold"), show_lines=True)
    if (kafka := stack["kafka"]) is not None:
        table.add_row("Kafka", str(kafka["pid"]), f"{kafka['bootstrap']}\n{_short(kafka['log'])}")
    if (registry := stack["registry"]) is not None:
        table.add_row("registry", str(registry["pid"]), f"{registry['url']}\n{_short(registry['log'])}")
    if (search := stack["search"]) is not None:
        table.add_row("search", str(search["pid"]), f"{search['url']}\n{_short(search['log'])}")
    Console().print(table)


def _short(path: str) -> str:
    return min(path, os.path.relpath(path), key=len)


def _control() -> ModuleType:
    """Imported late: other commands work without the ``embedded`` extra.

    Raises:
        ConfigError: the extra is not installed, or the system has no embedded stack.
    """
    try:
        from headrace.embedded import control
    except ModuleNotFoundError as e:
        if e.name == "fcntl":
            raise ConfigError("the embedded stack runs on Linux and macOS; name your own Kafka here") from e
        raise ConfigError(
            f"the embedded stack needs {e.name}: install it with `pip install 'headrace[embedded]'`"
        ) from e
    return control
