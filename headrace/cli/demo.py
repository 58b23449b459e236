"""``headrace demo``: an example, end to end, on a real Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connect import connection
from headrace.cli.progress import LINE
from headrace.errors import ConfigError

EXAMPLES = ("flights",)


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(demo)


def demo(
    ctx: typer.Context,
    example: Annotated[str, typer.Argument(help="Which example: flights.")] = "flights",
    months: Annotated[int, typer.Option(min=2, max=12, help="Months of the year to run.")] = 12,
    quick: Annotated[bool, typer.Option("--quick", help="Two months: the same screens in half a minute.")] = False,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write report.json and report.html.")] = Path(
        "build/demo"
    ),
) -> None:
    """Run an example on a real Kafka, end to end.

    Events, features, labels, training, model swaps under load, drift, and a balance of all records.

    Starts a fresh embedded stack. Exits with 1 if a record is unaccounted for.
    """
    if example not in EXAMPLES:
        raise ConfigError(f"no example {example!r}; there are: {', '.join(EXAMPLES)}")
    from headrace.examples.flights import demo as flights

    LINE.end()
    if not flights.run(connection(ctx).local(), months=2 if quick else months, out=out):
        raise typer.Exit(1)
