"""The command line: ``headrace``. Each group of commands has a module; this one puts them together."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections import UserDict
from typing import Annotated, Any

import typer

import headrace
from headrace.cli.connect import (
    KafkaOption,
    PropertyOption,
    RegistryOption,
    StateOption,
    take_connection,
)
from headrace.cli.group import LightGroup
from headrace.cli.progress import LINE
from headrace.errors import ConfigError, HeadraceError

INGEST = "run ingest"
"""A command of two words: what it takes has little to do with what processors take."""
MODULES = {
    "demo": ("demo",),
    "new": ("new",),
    "check": ("check",),
    "stack": ("up", "down", "status"),
    "init": ("init",),
    "schema": ("schema",),
    "topics": ("topics",),
    "show": ("show",),
    "push": ("push",),
    "run": ("run",),
    "ingest": (INGEST,),
    "watch": ("watch",),
    "lag": ("lag",),
    "models": ("models",),
    "dead": ("dead",),
    "data": ("data",),
    "search": ("search",),
    "why": ("why",),
    "whatif": ("whatif",),
    "verify": ("verify",),
    "reproduce": ("reproduce",),
    "audit": ("audit",),
    "keys": ("keys",),
}
"""Module of this package -> the commands it registers, in the order of the help."""


class _Commands(UserDict[str, Any]):
    """Command name -> command, imported when it is asked for: a worker starts without what an audit needs."""

    def __getitem__(self, name: str) -> Any:
        alone = typer.Typer(rich_markup_mode=None)
        importlib.import_module(f"{__name__}.{super().__getitem__(name)}").register(alone)
        return _with_hint(typer.main.get_group(alone).commands[name])


def _with_hint(command: Any) -> Any:
    """The command, whose help tells where the connection's options are; its own commands' too."""
    command.epilog = "Every command also takes --kafka, --registry, --state and -X: see headrace --help."
    for part in getattr(command, "commands", {}).values():
        _with_hint(part)
    return command


class _Group(LightGroup):
    """A group of such commands, which takes the connection's options anywhere on the line."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands({name: module for module, names in MODULES.items() for name in names})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.obj, rest = take_connection(args)
        if rest[:2] == INGEST.split():
            rest = [INGEST, *rest[2:]]
        return super().parse_args(ctx, rest)


app = typer.Typer(
    name="headrace",
    cls=_Group,
    help="An event-driven ML platform on Kafka: the log is the platform.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: a rich one costs a quarter of a second and 30 MiB.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(headrace.__version__)
        raise typer.Exit


@app.callback(
    epilog="--kafka, --registry, --state and -X work anywhere on the line, e.g. headrace topics shop --state DIR"
)
def _root(
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """An event-driven ML platform on Kafka: the log is the platform."""


def main() -> None:
    """Run the command line. A foreseen error is one line on standard error and its exit code; no traceback."""
    LINE.later("loading")
    try:
        app()
    except HeadraceError as e:
        _tell(e)
    except ModuleNotFoundError as e:
        if not (missing := missing_package(e)):
            _bug()
        _tell(missing)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as e:
        if e.errno is None:
            raise
        where = f" ({e.filename})" if e.filename else ""
        _tell(HeadraceError(f"{e.strerror}{where}"))
    except Exception:  # noqa: BLE001 - a bug of ours: say so, with what is needed to report it
        _bug()
    finally:
        LINE.end()


def missing_package(error: ModuleNotFoundError) -> ConfigError | None:
    """What to install, where a package of somebody else is missing; None where the module is one of headrace's."""
    name = (error.name or "").partition(".")[0]
    if name in ("", "headrace"):
        return None
    return ConfigError(f"the package {name} is not installed: pip install 'headrace[platform]'")


def _tell(error: HeadraceError | None) -> None:
    assert error is not None
    LINE.end()
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True).print(Text.assemble(("headrace: ", "bold red"), str(error)), highlight=False)
    sys.exit(error.exit_code)


def _bug() -> None:
    traceback.print_exc()
    print("headrace: this is a bug in headrace; the lines above tell where", file=sys.stderr)
    sys.exit(70)
