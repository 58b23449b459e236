"""One prediction's story as tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from headrace.cli.tables import details, fold, name, say, table
from headrace.query.why.story import STANDS, Checked, Story

GONE = "no longer on the log"


def show(story: Story, console: Console) -> None:
    """Print the story."""
    receipt = story.prediction
    outputs = ", ".join(f"{v:.6f}" for v in receipt["outputs"])
    console.print(Text.assemble((f"{receipt['id']}: {outputs}", "bold"), f"  ({receipt['route']}, {receipt[STANDS]})"))
    _part(console, "raw event", story.raw)
    _part(console, "features", story.features)
    _policy(console, story)
    _part(console, "model", story.model)
    if story.shadows:
        shown = table(name("model"), name("route"), fold("outputs"), title="shadows")
        for row in story.shadows:
            shown.add_row(row["model_id"][:12], row["route"], ", ".join(f"{v:.6f}" for v in row["outputs"]))
        console.print(shown)
    _part(console, "label that came later", story.label, "none yet")
    if story.others:
        say(console, f"other answers about this id: {', '.join(story.others)}")
    if story.doubled:
        say(console, f"ANSWERED TWICE: this record was also answered at {', '.join(story.doubled)}", "bold red")
    _checked(console, "score, made again", story.score_again)
    _checked(console, "features, made again", story.features_again)


def _policy(console: Console, story: Story) -> None:
    if story.policy is None:
        return _part(console, "policy in force", None)
    told = {k: v for k, v in story.policy.items() if k != "gates"}
    told["routes"] = ", ".join(f"{r['model_id'][:12]} {r['weight']}" for r in told["routes"])
    told["shadows"] = ", ".join(m[:12] for m in told["shadows"]) or "none"
    _part(console, "policy in force", {**told, "this id": story.route})
    shown = table(name("gate"), name("verdict"), name("mode"), fold("finding"), title="evidence")
    for gate in story.policy["gates"]:
        verdict = Text("passed", "green") if gate["passed"] else Text("FAILED", "bold red")
        shown.add_row(gate["gate"], verdict, gate["mode"], Text(gate["summary"]))
    console.print(shown)
    return console.print()


def _part(console: Console, title: str, values: dict[str, Any] | None, none: str = GONE) -> None:
    shown = details(title)
    for key, value in (values or {"": none}).items():
        shown.add_row("record" if key == STANDS else key, Text(_text(value)))
    console.print(shown)
    console.print()


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "null"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _checked(console: Console, what: str, found: Checked | None) -> None:
    if found is None:
        return
    style = {True: "green", False: "bold red", None: "yellow"}[found.same]
    console.print(Text.assemble(f"{what}: ", (found.said, style)))
