"""``headrace dead``: the inputs that gave no result, why, and how they are tried again."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.connect import JsonOption, PipelineName, opened
from headrace.cli.group import LightGroup
from headrace.cli.progress import waiting
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.kafka.coordinate import Coordinate
    from headrace.query.dead.letters import Letters
    from headrace.schema.records import DeadLetter

LetterCoordinate = Annotated[
    str,
    typer.Argument(
        metavar="PARTITION:OFFSET", show_default=False, help="The dead letter, as headrace dead list names it."
    ),
]
StageOption = Annotated[
    str | None, typer.Option(metavar="PROCESSOR", help="Only dead letters of this processor, or of push.")
]
CodeOption = Annotated[str | None, typer.Option(metavar="CODE", help="Only dead letters with this code.")]
READING = "reading dead letters"


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(
        help="List, show and retry inputs that gave no result.",
        no_args_is_help=True,
        cls=LightGroup,
        rich_markup_mode=None,
    )
    group.command("list")(list_letters)
    group.command()(show)
    group.command()(retry)
    app.add_typer(group, name="dead")


def list_letters(
    ctx: typer.Context,
    pipeline: PipelineName,
    stage: StageOption = None,
    code: CodeOption = None,
    limit: Annotated[int, typer.Option(min=0, help="List at most this many one by one.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Count dead letters by stage and code, and list them."""
    from headrace.query.dead.letters import dead_letters

    topics, _ = opened(ctx, pipeline)
    with waiting(READING):
        found = dead_letters(topics)
    chosen = _chosen(found, stage, code)
    if as_json:
        fields = {"stage", "code", "reason", "topic", "partition", "offset", "at"}
        rows = [
            {
                "letter": str(coordinate),
                **letter.model_dump(mode="json", include=fields),
                "retried": coordinate in found.retries,
            }
            for coordinate, letter in chosen.items()
        ]
        typer.echo(json.dumps(rows))
        return
    from rich.console import Console

    from headrace.cli.dead_screen import listed

    Console().print(listed(topics.pipeline.name, chosen, found, limit))


def show(ctx: typer.Context, pipeline: PipelineName, letter: LetterCoordinate, as_json: JsonOption = False) -> None:
    """Show one dead letter: its record, error and bytes."""
    from headrace.kafka.coordinate import Coordinate
    from headrace.query.dead.letters import dead_letters
    from headrace.query.dead.partial import decode_letter

    coordinate = Coordinate.parse(letter, "a dead letter", f"headrace dead list {pipeline}")
    topics, _ = opened(ctx, pipeline)
    with waiting(READING):
        found = dead_letters(topics)
    dead = found[coordinate]
    partial = decode_letter(dead, topics.registry)
    retried = found.retries.get(coordinate)
    from headrace.cli.dead_screen import details_of, plain

    if as_json:
        typer.echo(json.dumps(plain(coordinate, dead, partial, retried)))
        return
    from rich.console import Console

    Console().print(details_of(topics.pipeline.name, coordinate, dead, partial, retried))


def retry(
    ctx: typer.Context,
    pipeline: PipelineName,
    letters: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PARTITION:OFFSET]...", show_default=False, help="Dead letters to retry."),
    ] = None,
    stage: StageOption = None,
    code: CodeOption = None,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who retries (default: the user logged in).")] = "",
) -> None:
    """Write dead letters' records again. Fix the cause first.

    The records return to the topics they came from. They go to the end of their partitions, in one transaction with a
    trace of each on the dead topic. With --stage or --code: all such letters that were not retried yet. A letter is
    retried once: a second retry is refused.
    """
    from headrace.client.retry import retry as put_back
    from headrace.kafka.coordinate import Coordinate
    from headrace.query.dead.letters import dead_letters

    coordinates = [Coordinate.parse(text, "a dead letter", f"headrace dead list {pipeline}") for text in letters or ()]
    topics, _ = opened(ctx, pipeline)
    with waiting(READING):
        if stage or code:
            found = dead_letters(topics)
            coordinates += [c for c in _chosen(found, stage, code) if c not in found.retries]
        elif not coordinates:
            raise ConfigError(
                f"name the dead letters to retry (`headrace dead list {pipeline}` lists them), or --stage or --code"
            )
        traces = put_back(topics, coordinates, by or getpass.getuser())
    for trace in traces:
        typer.echo(f"dead letter {trace.letter_partition}:{trace.letter_offset} -> {trace.where}")
    typer.echo(f"{len(traces)} records put back; `headrace dead list {pipeline}` shows any that fails again")


def _chosen(found: Letters, stage: str | None, code: str | None) -> dict[Coordinate, DeadLetter]:
    return {
        coordinate: letter
        for coordinate, letter in found.letters.items()
        if stage in (None, letter.stage) and code in (None, letter.code)
    }
