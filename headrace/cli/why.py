"""``headrace why``: the whole story of one prediction."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

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
from headrace.cli.extras import platform_module
from headrace.cli.progress import Bar
from headrace.models.package.signing import Trust
from headrace.query.why.find import find
from headrace.query.why.story import STANDS, Checked, Story, tell

GONE = "no longer on the log"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(why)


def why(
    pipeline: PipelineName,
    asked: Annotated[
        str, typer.Argument(metavar="ID|P:OFFSET", help="Id of what was scored, or where the prediction stands.")
    ],
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell one prediction's whole story, from the event to the label that came later.

    The event, its features, the policy in force and who approved it on which evidence, the model and from what it was
    made, and whether score and features come out the same when they are made again. Exits with 1 where they do not.
    """
    settings = settings_from(kafka, registry, state, x)
    there = open_pipeline(pipeline, settings)
    again = platform_module("headrace.runner.recompute").features_of
    with Bar() as bar:
        place, others = find(there, asked, bar)
    story = tell(there, place, Trust.of(settings), again, others)
    if as_json:
        typer.echo(json.dumps(story.plain(), default=str))
    else:
        _show(story)
    if not story.agrees:
        raise typer.Exit(1)


def _show(story: Story) -> None:
    console = Console()
    receipt = story.prediction
    outputs = ", ".join(f"{v:.6f}" for v in receipt["outputs"])
    console.print(Text.assemble((f"{receipt['id']}: {outputs}", "bold"), f"  ({receipt['route']}, {receipt[STANDS]})"))
    _part(console, "raw event", story.raw)
    _part(console, "features", story.features)
    _policy(console, story)
    _part(console, "model", story.model)
    if story.shadows:
        table = Table("model", "route", "outputs", title="scored beside it", title_justify="left")
        for row in story.shadows:
            table.add_row(row["model_id"][:12], row["route"], ", ".join(f"{v:.6f}" for v in row["outputs"]))
        console.print(table)
    _part(console, "label that came later", story.label, "none yet")
    if story.others:
        console.print(f"other answers about this id: {', '.join(story.others)}", highlight=False)
    _checked(console, "score, made again", story.score_again)
    _checked(console, "features, made again", story.features_again)


def _policy(console: Console, story: Story) -> None:
    if story.policy is None:
        return _part(console, "policy in force", None)
    told = {k: v for k, v in story.policy.items() if k != "gates"}
    told["routes"] = ", ".join(f"{r['model_id'][:12]} {r['weight']}" for r in told["routes"])
    told["shadows"] = ", ".join(m[:12] for m in told["shadows"])
    _part(console, "policy in force", {**told, "this id": story.route})
    table = Table("gate", "", "mode", Column("finding", overflow="fold"), title="evidence", title_justify="left")
    for gate in story.policy["gates"]:
        verdict = "passed" if gate["passed"] else "FAILED"
        table.add_row(gate["gate"], verdict, gate["mode"], Text(gate["summary"]))
    return console.print(table)


def _part(console: Console, title: str, values: dict[str, Any] | None, none: str = GONE) -> None:
    table = Table(show_header=False, title=title, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (values or {"": none}).items():
        table.add_row(name, Text(_text(value)))
    console.print(table)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _checked(console: Console, what: str, found: Checked | None) -> None:
    if found is None:
        return
    style = "green" if found.same else "bold red"
    console.print(Text.assemble(f"{what}: ", (found.said, style)))
