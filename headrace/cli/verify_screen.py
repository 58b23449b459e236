"""What a verification found, as tables."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from headrace.cli.tables import fold, name, number, say, table
from headrace.models.score.session import runtime, runtime_fingerprint
from headrace.query.replay.verify import Verification

SHOWN = 50


def show(found: Verification, pipeline: str, console: Console) -> None:
    """Print the result."""
    heads = ("from", "to", "records", "same bits", "near", "differ")
    shown = table(
        number("partition"), *map(number, heads), title=f"predictions of {pipeline}, made again from its features"
    )
    for p, r in found.partitions.items():
        style = "bold red" if r.differences or r.unscored else None
        cells = (r.span.start, r.span.stop, r.records, r.same, r.other_runtime, r.differences)
        shown.add_row(str(p), *(f"{c:,}" for c in cells), style=style)
    shown.add_section()
    totals = [found.total(count) for count in ("records", "same", "other_runtime", "differences")]
    shown.add_row("all", "", "", *(f"{c:,}" for c in totals), style="bold")
    console.print(shown)
    _notes(console, found)
    _differences(console, found)
    if found.ok:
        say(console, "every prediction was made again, and none differs", "bold green")
    else:
        say(console, "the log differs from what was made again", "bold red")


def _notes(console: Console, found: Verification) -> None:
    rate = found.total("records") / max(found.seconds, 1e-9)
    models = len(found.models)
    say(console, f"{models} model{'s' * (models != 1)}; {found.seconds:.1f} s, {rate:,.0f} records a second")
    here = runtime()
    machine = f"onnxruntime {here['onnxruntime']}, {here['provider']}, {here['machine']}"
    say(console, f"runtime {runtime_fingerprint()}: {machine}")
    if count := found.total("other_runtime"):
        say(console, f"near: {count:,} predictions were made under another runtime and agree to 1e-05")
    if count := found.total("past_retention"):
        say(console, f"{count:,} records were not compared: Kafka has dropped their predictions (retention)")
    for model, why in found.refused.items():
        say(console, f"records of {model[:12]} were not scored: {why}", "red")


def _differences(console: Console, found: Verification) -> None:
    listed = [(p, d) for p, r in found.partitions.items() for d in r.listed]
    if not listed:
        return
    shown = table(name("features"), name("prediction"), fold("what differs"), title="differences")
    for p, d in listed[:SHOWN]:
        shown.add_row(*(f"{p}:{o}" if o >= 0 else "" for o in (d.features, d.predictions)), Text(d.what))
    console.print(shown)
    if (total := found.total("differences")) > len(listed[:SHOWN]):
        say(console, f"and {total - len(listed[:SHOWN]):,} more; --json lists up to 1,000 of each partition")
