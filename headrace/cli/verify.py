"""``headrace replay --verify``: predictions made again, and held bit for bit against the log."""

from __future__ import annotations

import json

import typer
from rich.console import Console
from rich.table import Column, Table

from headrace.cli.connect import open_pipeline
from headrace.cli.progress import Bar
from headrace.config import Settings
from headrace.models.package.signing import Trust
from headrace.models.score.session import runtime, runtime_fingerprint
from headrace.query.replay.bounds import Bounds
from headrace.query.replay.verify import Verification
from headrace.query.replay.verify import verify as replay
from headrace.topics.pipeline_topics import PipelineTopics

SHOWN = 50


def verify(pipeline: str, settings: Settings, bounds: Bounds, as_json: bool) -> None:
    """Verify, and tell; exits with 1 where a prediction differs or cannot be made again."""
    there = open_pipeline(pipeline, settings)
    with Bar() as bar:
        found = replay(there, Trust.of(settings), bounds, bar)
    if as_json:
        typer.echo(json.dumps(found.plain(there)))
    else:
        _show(found, there)
    if not found.ok:
        raise typer.Exit(1)


def _show(found: Verification, there: PipelineTopics) -> None:
    console = Console()
    number = {"justify": "right"}
    table = Table(
        Column("partition", **number),  # type: ignore[arg-type]
        "offsets of features",
        *(Column(c, **number) for c in ("records", "same bits", "other runtime", "differ")),  # type: ignore[arg-type]
        title=f"predictions of {there.pipeline.name}, made again",
    )
    for p, r in found.partitions.items():
        style = "bold red" if r.differences or r.unscored else None
        cells = (r.records, r.same, r.other_runtime, r.differences)
        table.add_row(str(p), f"{r.span.start:,} to {r.span.stop:,}", *(f"{c:,}" for c in cells), style=style)
    table.add_section()
    totals = [found.total(name) for name in ("records", "same", "other_runtime", "differences")]
    table.add_row("all", "", *(f"{c:,}" for c in totals), style="bold")
    console.print(table)
    _notes(console, found, there)
    if found.ok:
        console.print("[bold green]every prediction was made again, and none differs[/]")
    else:
        console.print("[bold red]the log and its replay disagree[/]")


def _notes(console: Console, found: Verification, there: PipelineTopics) -> None:
    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    rate = found.total("records") / max(found.seconds, 1e-9)
    say(f"{len(found.models)} models; {found.seconds:.1f} s, {rate:,.0f} records a second with all that comes before")
    here = runtime()
    say(f"runtime {runtime_fingerprint()}: onnxruntime {here['onnxruntime']}, {here['provider']}, {here['machine']}")
    if count := found.total("other_runtime"):
        say(f"{count:,} predictions were made under another runtime; their scores are as near as such come (1e-05)")
    if count := found.total("past_retention"):
        say(f"{count:,} records were not compared: their predictions are past retention")
    for model, why in found.refused.items():
        say(f"records of {model[:12]} were not scored: {why}")
    listed = [(p, d) for p, r in found.partitions.items() for d in r.listed]
    if not listed:
        return
    table = Table("features", "prediction", Column("what differs", overflow="fold"), title="differences")
    for p, d in listed[:SHOWN]:
        name = (f"[{p}] {o}" if o >= 0 else "" for o in (d.features, d.predictions))
        table.add_row(*(n.replace("[", r"\[") for n in name), d.what.replace("[", r"\["))
    console.print(table)
    if (total := found.total("differences")) > SHOWN:
        say(f"and {total - min(SHOWN, len(listed)):,} more; --json lists up to 1,000 of each partition")
