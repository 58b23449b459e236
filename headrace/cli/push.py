"""``headrace push``: files to the raw topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from headrace.cli.connect import PipelineName, opened
from headrace.cli.troubles import tell_troubles
from headrace.errors import ConfigError, HeadraceError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from headrace.producers.files import BadRow, Options, Pushed
    from headrace.query.refused import RefusedLater

SHOWN = 20
"""Refused rows that are printed."""
KINDS = 10
"""Kinds of faults that the summary has."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(push)


def push(
    ctx: typer.Context,
    pipeline: PipelineName,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            show_default=False,
            help="CSV, JSON lines, Parquet, Arrow or Avro; text and Avro compressed, too; - is standard input.",
        ),
    ],
    format: Annotated[
        str | None, typer.Option(help="csv, tsv, jsonl, parquet, arrow or avro, whatever the file's ending is.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of text, e.g. latin-1; UTF-8 where no byte order mark says another.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="Between the fields of a CSV file, e.g. ';'.")] = None,
    date_format: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[FIELD=]FORMAT", help="Times as strptime has them, e.g. at=%d.%m.%Y; instead of ISO 8601."
        ),
    ] = None,
    epoch: Annotated[
        list[str] | None, typer.Option(metavar="[FIELD=]UNIT", help="Unit of times given as counts: s, ms, us or ns.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Zone of times that have none, e.g. Europe/Oslo; else UTC.")] = None,
    repeated: Annotated[
        str | None, typer.Option(help="first or second: which is meant where clocks went back and an hour came twice.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.1, help="Events a second, at most.")] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Replay by event time, this many times as fast as it happened.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--again",
            help="Pass over what earlier pushes of the same file have committed, or push it from its beginning again.",
        ),
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check alone; nothing is sent.")] = False,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="Wait until preprocess has read the events; tell what it refused.")
    ] = 0,
) -> None:
    """Push events from files to a pipeline's raw topic.

    Each row is checked against the pipeline's schema: it is carried exactly, or refused. A row that is refused is
    reported with its file and line and kept as a dead letter; the others are pushed. Events, dead letters and how far
    the file has been read are one transaction: a push that was killed goes on where it stopped when it is given
    again, and a file that was pushed whole is not pushed twice. Exits with 1 if a row was refused.
    """
    from rich.console import Console

    from headrace.producers.files.read import format_of
    from headrace.producers.pacing import Pace
    from headrace.query.refused import ends_now, wait_for_preprocess
    from headrace.topics.parties import PRODUCER

    options = _options(encoding, delimiter, date_format or [], epoch or [], zone, repeated)
    for path in files:
        format_of(path, format)
    topics, _ = opened(ctx, pipeline, principal=PRODUCER.name)
    console = Console(stderr=True)
    pace = Pace(rate=rate, speed=speed) if rate or speed else None
    refusals = _Refusals(console)
    looker = opened(ctx, pipeline)[0] if wait else None
    since = ends_now(looker) if looker is not None else None
    done: list[tuple[Path, Pushed]] = []
    with _bars(console) as bars:
        for path in files:
            from headrace.producers.files import push_file

            task = bars.add_task(path.name, total=None)
            refusals.path = path

            def advance(rows: int, task: TaskID = task) -> None:
                bars.advance(task, rows)

            try:
                one = push_file(
                    topics,
                    path,
                    format=format,
                    options=options,
                    pace=pace,
                    again=not resume,
                    dry_run=dry_run,
                    report=refusals.take,
                    progress=advance,
                )
            except HeadraceError:
                if done:
                    _tell(console, done, refusals, dry_run=dry_run)
                raise
            bars.update(task, total=one.sent + one.bad)
            done.append((path, one))
    _tell(console, done, refusals, dry_run=dry_run)
    if dry_run:
        raise typer.Exit(1 if refusals.count else 0)
    if looker is not None and since is not None:
        from headrace.cli.progress import waiting

        with waiting("waiting for preprocess"):
            later = wait_for_preprocess(looker, since, wait)
        _tell_later(pipeline, later)
    with suppress(HeadraceError):  # a producer may have no right to look what became of earlier events
        tell_troubles(opened(ctx, pipeline)[0])
    if refusals.count:
        typer.echo(f"next: `headrace dead list {pipeline} --stage push` lists them; mend the file and push those again")
        raise typer.Exit(1)
    typer.echo(f"next: `headrace watch {pipeline}` shows what becomes of them")


def _options(
    encoding: str | None,
    delimiter: str | None,
    date_formats: Sequence[str],
    epochs: Sequence[str],
    zone: str | None,
    repeated: str | None,
) -> Options:
    """How the files are to be read.

    Raises:
        ConfigError: an option has a value that is none of its own.
    """
    from zoneinfo import ZoneInfo

    from headrace.codec.moments import UNITS, Clock
    from headrace.producers.files import Options

    formats: dict[str, tuple[str, ...]] = {}
    for text in date_formats:
        name, format = _named(text) if "%" not in text.partition("=")[0] else ("", text)
        formats[name] = (*formats.get(name, ()), format)
    units = dict(_named(text) for text in epochs)
    if wrong := [unit for unit in units.values() if unit not in UNITS]:
        raise ConfigError(f"--epoch {wrong[0]}: give one of {', '.join(UNITS)}")
    if repeated not in (None, "first", "second"):
        raise ConfigError(f"--repeated {repeated}: give first or second")
    if delimiter is not None and len(delimiter) != 1:
        raise ConfigError(f"--delimiter {delimiter!r}: give one character, e.g. ';' or $'\\t'")
    try:
        found = ZoneInfo(zone) if zone else None
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"--zone {zone}: there is no such zone; give a name like Europe/Oslo") from None
    clock = Clock(found, cast("Literal['first', 'second'] | None", repeated), formats, units)
    return Options(encoding, delimiter, clock)


def _named(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    return (name, value) if equals else ("", text)


def _tell(console: Console, done: Sequence[tuple[Path, Pushed]], refusals: _Refusals, *, dry_run: bool) -> None:
    """What was pushed, what was not, and why, file by file where it is worth a word."""
    from rich.text import Text

    from headrace.cli.tables import fold, number, table

    refusals.rest()
    for path, one in done:
        if one.finished:
            typer.echo(f"{path}: pushed before, {one.before:,} rows: nothing to do; --again pushes it once more")
        elif one.before:
            typer.echo(f"{path}: {one.before:,} rows were pushed before and passed over")
    unknown = sorted(set().union(*(one.unknown for _, one in done)))
    if unknown:
        names = ", ".join(repr(name) for name in unknown)
        text = f"warning: the schema has no field for {names}: their values are not kept"
        console.print(Text(text, style="bold yellow"), highlight=False)
    reasons = sum((one.reasons for _, one in done), Counter[str]())
    if reasons:
        shown = table(number("rows"), fold("refused because"))
        for reason, count in reasons.most_common(KINDS):
            shown.add_row(f"{count:,}", Text(reason))
        if len(reasons) > KINDS:
            shown.add_row(f"{sum(c for _, c in reasons.most_common()[KINDS:]):,}", "other reasons")
        console.print(shown)
    sent, bad = sum(one.sent for _, one in done), sum(one.bad for _, one in done)
    typer.echo(f"{sent:,} events {'would be ' if dry_run else ''}pushed, {bad:,} rows refused")


def _tell_later(pipeline: str, later: RefusedLater) -> None:
    if not later.counts:
        typer.echo("preprocess has read them and refused none")
        return
    for code, count in later.counts.most_common():
        typer.echo(f"preprocess refused {count:,}: {code} ({later.examples[code]})")
    typer.echo(f"`headrace dead list {pipeline} --stage preprocess` lists them")


class _Refusals:
    """Rows that were refused: the first are printed, all are counted."""

    def __init__(self, console: Console) -> None:
        self.count = 0
        self.path = Path()
        self._console = console
        self._told = False

    def take(self, row: BadRow) -> None:
        self.count += 1
        if self.count <= SHOWN:
            self._console.print(f"{self.path}:{row.line}: {row.reason}", highlight=False, markup=False, soft_wrap=True)

    def rest(self) -> None:
        if self.count > SHOWN and not self._told:
            self._told = True
            self._console.print(f"... and {self.count - SHOWN:,} more")


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    """A bar for each file; where standard error is no terminal, none is drawn."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        yield bars
