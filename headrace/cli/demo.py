"""``headrace demo``: an example, end to end, on a real Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.extras import platform_module
from headrace.config import load_settings
from headrace.errors import ConfigError

EXAMPLES = ("flights",)


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(demo)


def demo(
    example: Annotated[str, typer.Argument(help="Which example: flights.")] = "flights",
    months: Annotated[int, typer.Option(min=2, max=12, help="Months of the year to run.")] = 12,
    out: Annotated[Path, typer.Option(help="Folder of report.json and report.html.")] = Path("build/demo"),
    state: Annotated[Path | None, typer.Option(help="Folder of the embedded stack (default: .headrace).")] = None,
) -> None:
    """Run an example: events in, features, labels, training, swaps while records flow, drift, and an account.

    Starts a fresh embedded stack, and exits with 1 where the account of every record does not balance.
    """
    if example not in EXAMPLES:
        raise ConfigError(f"no example {example!r}; there are: {', '.join(EXAMPLES)}")
    module = platform_module(f"examples.{example}.demo")
    if not module.run(load_settings(state=state), months=months, out=out):
        raise typer.Exit(1)
