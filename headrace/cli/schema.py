"""``headrace schema``: a pipeline's schemas as declared, held against those that are registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.connect import JsonOption, PipelineName, opened
from headrace.cli.group import LightGroup
from headrace.cli.progress import waiting
from headrace.errors import SchemaError

if TYPE_CHECKING:
    from headrace.topics.evolution import Step, Subject
    from headrace.topics.pipeline_topics import PipelineTopics

RawOption = Annotated[
    Path | None,
    typer.Option(
        "--raw", metavar="FILE.avsc", help="Take the events' schema from this file instead of the declaration."
    ),
]
OtherValuesOption = Annotated[
    bool,
    typer.Option(
        "--other-values",
        help="Accept a change of unit or scale: every reader goes by the writer's own type, as headrace does.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(
        help="Compare, check and change a pipeline's schemas.",
        no_args_is_help=True,
        cls=LightGroup,
        rich_markup_mode=None,
    )
    for command in (check, diff, evolve):
        group.command()(command)
    app.add_typer(group, name="schema")


def check(
    ctx: typer.Context,
    pipeline: PipelineName,
    raw: RawOption = None,
    other_values: OtherValuesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell whether the declared schemas would be taken. Exits with 1 if not; registers nothing."""
    topics, _ = opened(ctx, pipeline)
    found, planned = _planned(topics, raw, other_values=other_values)
    blocked = [step for step in planned if step.blocked]
    if as_json:
        typer.echo(json.dumps({"taken": not blocked, **_plain(found, planned)}))
    else:
        _say(blocked or planned, "every schema is registered as it is declared")
        if planned and not blocked:
            typer.echo(f"these schemas would be taken: `headrace schema evolve {pipeline} --yes`")
    raise typer.Exit(int(bool(blocked)))


def diff(ctx: typer.Context, pipeline: PipelineName, raw: RawOption = None, as_json: JsonOption = False) -> None:
    """Show the changes from the newest registered schemas to the declared ones, field by field."""
    topics, _ = opened(ctx, pipeline)
    found, _ = _planned(topics, raw)
    if as_json:
        typer.echo(json.dumps([subject.plain() for subject in found]))
        return
    from rich.console import Console

    from headrace.cli.schema_screen import shown

    Console().print(shown(found))


def evolve(
    ctx: typer.Context,
    pipeline: PipelineName,
    yes: Annotated[bool, typer.Option("--yes", help="Register the schemas; without it, only tell the steps.")] = False,
    other_values: OtherValuesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what is to be done for the declared schemas to be in use, in which order; with --yes, register them."""
    topics, _ = opened(ctx, pipeline)
    found, planned = _planned(topics, None, other_values=other_values)
    blocked = [step.what for step in planned if step.blocked]
    if yes and blocked:
        raise SchemaError(f"nothing was registered: {'; '.join(blocked)}")
    if yes and planned:
        with waiting("registering schemas"):
            topics.init(other_values=other_values)
    if as_json:
        typer.echo(json.dumps({"registered": bool(yes and planned), **_plain(found, planned)}))
        return
    if yes and planned:
        typer.echo("schemas registered")
        planned = [step for step in planned if not step.what.startswith("register ")]
    _say(planned, "every schema is registered as it is declared")


def _planned(
    topics: PipelineTopics, raw: Path | None, *, other_values: bool = False
) -> tuple[list[Subject], list[Step]]:
    from headrace.declare.raw_schema import schema
    from headrace.runner.processors import PARTIES
    from headrace.topics.evolution import steps

    with waiting("asking the registry"):
        found = topics.subjects(None if raw is None else schema(raw.absolute(), beside="."))
    return found, steps(found, PARTIES, other_values=other_values)


def _plain(found: list[Subject], planned: list[Step]) -> dict[str, Any]:
    return {"subjects": [s.plain() for s in found], "steps": [step.what for step in planned]}


def _say(planned: list[Step], nothing: str) -> None:
    for number, step in enumerate(planned, start=1):
        typer.echo(step.what if step.blocked else f"{number}. {step.what}")
    if not planned:
        typer.echo(nothing)
