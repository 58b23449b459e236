"""Dead letters as tables."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from headrace.cli.tables import details, fold, name, number, table
from headrace.kafka.coordinate import Coordinate
from headrace.query.dead.letters import Letters, source
from headrace.query.dead.partial import Partial, readable
from headrace.schema.records import DeadLetter, DeadRetry

ROW = 16
"""Bytes shown on a line."""
BYTES_SHOWN = 512


def listed(pipeline: str, chosen: dict[Coordinate, DeadLetter], found: Letters, limit: int) -> RenderableType:
    """How many dead letters there are by stage and code, then the first of them."""
    if not chosen:
        return Text(f"{pipeline} has no dead letters" + (" of this kind" if found.letters else ""))
    counts = table(name("stage"), name("code"), number("letters"), title=f"{len(chosen):,} dead letters of {pipeline}")
    for (stage, code), n in sorted(Counter((d.stage, d.code) for d in chosen.values()).items()):
        counts.add_row(stage, code, f"{n:,}")
    if not limit:
        return counts
    shown = table(name("letter"), name("stage"), name("code"), fold("record"), fold("reason"))
    for coordinate, letter in list(chosen.items())[:limit]:
        retried = " (retried)" if coordinate in found.retries else ""
        row = (str(coordinate), letter.stage, letter.code, Text(source(letter)), Text(letter.reason + retried))
        shown.add_row(*row)
    more = len(chosen) - shown.row_count
    hint = [Text(f"and {more:,} more: --limit, or --stage and --code")] if more > 0 else []
    return Group(counts, Text(), shown, *hint, Text(f"`headrace dead show {pipeline} LETTER` shows one whole"))


def details_of(
    pipeline: str, coordinate: Coordinate, dead: DeadLetter, partial: Partial, retried: DeadRetry | None
) -> RenderableType:
    """One dead letter: why, its record as far as it could be decoded, and its bytes."""
    about = details(f"dead letter {coordinate} of {pipeline}")
    rows = {
        "stage": dead.stage,
        "code": dead.code,
        "reason": dead.reason,
        "record": source(dead),
        "written": f"{dead.at:%Y-%m-%d %H:%M:%S} UTC" if dead.at else "at a time that was not recorded",
        "key": readable(dead.key) if dead.partition >= 0 else "",
        "schema": partial.schema,
    }
    for key, value in rows.items():
        if value:
            about.add_row(key, Text(value))
    for field, value in partial.fields.items():
        about.add_row(f"  {field}", Text(readable(value)))
    if partial.schema and partial.reason:  # without a schema, the letter's own reason says it
        failed = f"  {partial.failed}" if partial.failed else "bytes"
        at = "" if partial.failed_at is None else f"fails at byte {partial.failed_at}: "
        about.add_row(failed, Text(at + partial.reason, style="red"))
    if retried:
        about.add_row("retried", f"by {retried.by} at {retried.at:%F %T} UTC: {retried.where}")
    parts: list[RenderableType] = [about]
    if dead.value is not None:
        parts += [Text(), _bytes(dead.value, partial.failed_at)]
    if dead.traceback:
        parts += [Text(), Text(dead.traceback.rstrip())]
    return Group(*parts)


def plain(coordinate: Coordinate, dead: DeadLetter, partial: Partial, retried: DeadRetry | None) -> dict[str, Any]:
    """One dead letter as JSON takes it; key and value as hex."""
    return {
        "letter": str(coordinate),
        **dead.model_dump(exclude={"key", "value"}),
        "at": dead.at.isoformat() if dead.at is not None else None,
        "key": dead.key.hex() if dead.key is not None else None,
        "value": dead.value.hex() if dead.value is not None else None,
        "schema": partial.schema,
        "fields": {field: readable(value) for field, value in partial.fields.items()},
        "failed": partial.failed,
        "failed_at": partial.failed_at,
        "retried": retried.model_dump(mode="json") if retried else None,
    }


def _bytes(value: bytes, failed_at: int | None) -> Text:
    """The record's bytes, sixteen a line, the failing one marked."""
    text = Text(no_wrap=True)
    for start in range(0, min(len(value), BYTES_SHOWN), ROW):
        row = value[start : start + ROW]
        text.append(f"{start:6d}  ", style="dim")
        for i, byte in enumerate(row):
            text.append(f"{byte:02x}", style="bold white on red" if start + i == failed_at else "")
            text.append(" ")
        printable = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        text.append("   " * (ROW - len(row)) + f" {printable}\n")
    if len(value) > BYTES_SHOWN:
        text.append(f"... {len(value):,} bytes in all\n", style="dim")
    return text
