"""``headrace new``: a project that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(new)


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the pipeline: lower-case letters, digits, _.")],
    folder: Annotated[
        Path | None, typer.Option(help="Folder to make it in, empty or not there yet (default: NAME, here).")
    ] = None,
) -> None:
    """Make a project that runs.

    It has a pipeline, its schema, invented events with labels, tests, a CI file and a README. Replace the invented
    schema, events and functions with your own; headrace check examines the functions.
    """
    from headrace.project.new import new_project

    target = folder or Path(name)
    for path in new_project(name, target):
        typer.echo(f"  {target / path}")
    typer.echo(f"project {name} made. Next: cd {target}; headrace check {name} events.csv; README.md has the rest")
