"""The command line: ``headrace``. Each group of commands has a module; this one puts them together."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections import UserDict
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

import headrace
from headrace.errors import HeadraceError

MODULES = {
    "new": ("new",),
    "check": ("check",),
    "stack": ("up", "down", "status"),
    "setup": ("init", "topics"),
    "push": ("push",),
    "run": ("run",),
    "models": ("models",),
    "people": ("train", "approve", "reject", "rollback"),
    "dead": ("dead",),
    "data": ("snapshot", "restore", "retention", "data"),
    "audit": ("audit",),
    "replay": ("replay",),
    "why": ("why",),
    "reproduce": ("reproduce",),
    "forward": ("forward",),
    "watch": ("watch",),
    "keys": ("keys",),
    "demo": ("demo",),
}
"""Module of this package -> the commands it registers, in the order of the help."""


class _Commands(UserDict[str, Any]):
    """Command name -> command, imported when it is asked for: a worker starts without what an audit needs."""

    def __getitem__(self, name: str) -> Any:
        alone = typer.Typer()
        importlib.import_module(f"{__name__}.{super().__getitem__(name)}").register(alone)
        return typer.main.get_group(alone).commands[name]


class _Group(TyperGroup):
    """A group of such commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands({name: module for module, names in MODULES.items() for name in names})


app = typer.Typer(
    name="headrace",
    cls=_Group,
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
