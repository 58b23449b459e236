"""``headrace dead``: the inputs that gave no result, why, and how they are tried again."""

from __future__ import annotations

import getpass
import json
from collections import Counter
from typing import Annotated

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
from headrace.client.retry import retry as put_back
from headrace.errors import ConfigError
from headrace.kafka.coordinate import Coordinate
from headrace.query.dead.letters import Letters, dead_letters, source
from headrace.query.dead.partial import Partial, decode_partly
from headrace.schema.records import DeadLetter

ROW = 16
"""Bytes shown on a line."""
BYTES_SHOWN = 512
LetterCoordinate = Annotated[str, typer.Argument(metavar="P:OFFSET", help="The dead letter, as `dead list` names it.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Inputs that gave no result.", no_args_is_help=True)
    group.command("list")(list_letters)
    group.command()(show)
    group.command()(retry)
    app.add_typer(group, name="dead")


def list_letters(
    pipeline: PipelineName,
    stage: Annotated[str | None, typer.Option(help="Those of this processor alone.")] = None,
    code: Annotated[str | None, typer.Option(help="Those with this code alone.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Show at most so many one by one.")] = 20,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the dead letters: how many by stage and code, then one by one."""
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x))
    found = dead_letters(there)
    chosen = _chosen(found, stage, code)
    if as_json:
        fields = {"stage", "code", "reason", "topic", "partition", "offset"}
        rows = [
            {"letter": str(place), **letter.model_dump(include=fields), "retried": place in found.retries}
            for place, letter in chosen.items()
        ]
        typer.echo(json.dumps(rows))
        return
    console = Console()
    title = f"{len(chosen)} dead letters of {pipeline}"
    counts = Table("stage", "code", Column("letters", justify="right"), title=title)
    for (at, what), n in sorted(Counter((d.stage, d.code) for d in chosen.values()).items()):
        counts.add_row(at, what, f"{n:,}")
    console.print(counts)
    wide = (Column(name, overflow="fold") for name in ("record", "reason"))
    table = Table(Column("letter", no_wrap=True), "stage", "code", *wide)
    for place, letter in list(chosen.items())[:limit]:
        retried = " (retried)" if place in found.retries else ""
        table.add_row(str(place), letter.stage, letter.code, source(letter), Text(letter.reason + retried))
    if table.row_count:
        console.print(table)
    if len(chosen) > table.row_count:
        console.print(f"and {len(chosen) - table.row_count:,} more: --limit, or --stage and --code")


def show(
    pipeline: PipelineName,
    letter: LetterCoordinate,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter: its record decoded as far as it goes, the byte where it fails, and its bytes."""
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x))
    found, place = dead_letters(there), Coordinate.parse(letter, "a dead letter", "headrace dead list")
    dead = found[place]
    partial = decode_partly(dead.value, there.registry)
    retried = found.retries.get(place)
    if as_json:
        shown = {
            "letter": str(place),
            **dead.model_dump(exclude={"key", "value"}),
            "at": dead.at.isoformat() if dead.at is not None else None,
            "key": dead.key.hex() if dead.key is not None else None,
            "value": dead.value.hex() if dead.value is not None else None,
            "schema": partial.schema,
            "fields": {name: str(value) for name, value in partial.fields.items()},
            "failed": partial.failed,
            "failed_at": partial.failed_at,
            "retried": retried.model_dump(mode="json") if retried else None,
        }
        typer.echo(json.dumps(shown))
        return
    console = Console()
    table = Table(show_header=False, title=f"dead letter {place} of {pipeline}")
    for name, value in (
        ("stage", dead.stage),
        ("code", dead.code),
        ("reason", dead.reason),
        ("record", source(dead)),
        ("key", repr(dead.key)),
        ("schema", partial.schema or "none that is known"),
    ):
        table.add_row(name, Text(value))
    for name, value in partial.fields.items():
        table.add_row(f"  {name}", Text(repr(value)))
    if partial.failed:
        table.add_row(f"  {partial.failed}", Text(f"fails at byte {partial.failed_at}: {partial.reason}", style="red"))
    elif partial.failed_at is not None:
        table.add_row("fails", Text(f"at byte {partial.failed_at}: {partial.reason}", style="red"))
    if retried:
        table.add_row("retried", f"by {retried.by} at {retried.at:%F %T}: {retried.where}")
    console.print(table)
    if dead.value is not None:
        console.print(_bytes(dead, partial))
    if dead.traceback:
        console.print(Text(dead.traceback.rstrip()))


def retry(
    pipeline: PipelineName,
    letters: Annotated[list[str] | None, typer.Argument(metavar="P:OFFSET...", help="Dead letters to retry.")] = None,
    stage: Annotated[str | None, typer.Option(help="All of this processor not yet retried.")] = None,
    code: Annotated[str | None, typer.Option(help="All with this code not yet retried.")] = None,
    by: Annotated[str, typer.Option("--by", help="Who retries (default: the user logged in).")] = "",
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
) -> None:
    """Put the records of dead letters back where they came from, each once: mend what was wrong first.

    The records go to the end of their partition, in one transaction with a trace of each on the dead topic. A letter
    that was retried before is refused, and said to be.
    """
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x))
    places = [Coordinate.parse(text, "a dead letter", "headrace dead list") for text in letters or ()]
    if stage or code:
        found = dead_letters(there)
        places += [place for place in _chosen(found, stage, code) if place not in found.retries]
    elif not places:
        raise ConfigError("name the dead letters to retry (`headrace dead list` shows them), or --stage or --code")
    traces = put_back(there, places, by or getpass.getuser())
    for trace in traces:
        typer.echo(f"dead letter {trace.letter_partition}:{trace.letter_offset} -> {trace.where}")
    typer.echo(f"{len(traces)} records put back")


def _chosen(found: Letters, stage: str | None, code: str | None) -> dict[Coordinate, DeadLetter]:
    return {
        place: letter
        for place, letter in found.letters.items()
        if stage in (None, letter.stage) and code in (None, letter.code)
    }


def _bytes(letter: DeadLetter, partial: Partial) -> Text:
    """The record's bytes, sixteen a line, the failing one marked."""
    assert letter.value is not None
    text = Text()
    for start in range(0, min(len(letter.value), BYTES_SHOWN), ROW):
        row = letter.value[start : start + ROW]
        text.append(f"{start:6d}  ", style="dim")
        for i, byte in enumerate(row):
            text.append(f"{byte:02x}", style="bold white on red" if start + i == partial.failed_at else "")
            text.append(" ")
        printable = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        text.append("   " * (ROW - len(row)) + f" {printable}\n")
    if len(letter.value) > BYTES_SHOWN:
        text.append(f"... {len(letter.value)} bytes in all\n", style="dim")
    return text
