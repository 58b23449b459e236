"""The command line: ``headrace``. Each group of commands has a module; this one puts them together."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer
from rich.console import Console

import headrace
from headrace.cli import (
    audit,
    data,
    dead,
    demo,
    forward,
    keys,
    models,
    people,
    push,
    replay,
    reproduce,
    run,
    setup,
    stack,
    watch,
    why,
)
from headrace.errors import HeadraceError

app = typer.Typer(
    name="headrace",
    help="An event-driven ML platform on Kafka: the log is the platform.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(headrace.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """An event-driven ML platform on Kafka: the log is the platform."""


for module in (
    stack,
    setup,
    push,
    run,
    models,
    people,
    dead,
    data,
    audit,
    replay,
    why,
    reproduce,
    forward,
    watch,
    keys,
    demo,
):
    module.register(app)


def main() -> None:
    """Run the command line. A foreseen error is one line on standard error and its exit code; no traceback."""
    try:
        app()
    except HeadraceError as e:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]headrace:[/] {_escape(str(e))}", highlight=False)
        sys.exit(e.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as e:
        if e.errno is None:
            raise
        where = f" ({e.filename})" if e.filename else ""
        Console(stderr=True, soft_wrap=True).print(f"[bold red]headrace:[/] {e.strerror}{where}", highlight=False)
        sys.exit(1)
    except Exception:  # noqa: BLE001 - a bug of ours: say so, with what is needed to report it
        traceback.print_exc()
        Console(stderr=True).print("[bold red]headrace:[/] this is a bug in headrace; the lines above tell where")
        sys.exit(70)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
