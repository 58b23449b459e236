"""Versions, their use and their differences as tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from headrace.cli.tables import fold, name, number, table

_STYLES = {
    "dropped, NOT archived": "bold red",
    "not what it was": "bold red",
    "damaged": "bold red",
    "due": "yellow",
}
_SAYS = {
    "due": "about to be dropped, in no version",
    "not what it was": "NOT archived: the topic holds other records there than the model was trained on",
}
Row = dict[str, Any]


def listed(pipeline: str, folder: Path, rows: list[Row]) -> RenderableType:
    """The versions in the data folder."""
    if not rows:
        return Text(
            f"{folder} holds no version of {pipeline}: `headrace data snapshot {pipeline} examples` freezes one"
        )
    shown = table(
        name("version"),
        name("dataset"),
        number("records"),
        number("size"),
        name("made"),
        name("files"),
        fold("trained on it"),
        title=f"versions of {pipeline} in {folder}",
    )
    for row in rows:
        known = "records" in row
        shown.add_row(
            row["version"],
            row["dataset"],
            f"{row['records']:,}" if known else "?",
            _size(row["bytes"]) if known else "?",
            f"{datetime.fromisoformat(row['created_at']):%m-%d %H:%M}" if known else "?",
            row["state"],
            _models(row["models"]) if known else Text(row["fault"]),
            style=_STYLES.get(row["state"]),
        )
    return shown


def _models(models: list[str]) -> str:
    if len(models) <= 1:
        return "".join(m[:12] for m in models)
    return f"{len(models)}, last {models[-1][:12]}"


def kept(topic: str, rows: list[Row]) -> Table:
    """Whether the examples of each live model are safe."""
    shown = table(
        name("model"),
        fold("partition:first-end"),
        fold("state"),
        fold("first may go"),
        title=f"examples of live models, {topic}",
    )
    for row in rows:
        state, version = row["state"], row["version"]
        said = str(_SAYS.get(state, state)) + (f" as {version}" if version else "")
        never = "gone" if state.startswith("dropped") else "never"
        goes = f"not before {datetime.fromisoformat(row['goes']):%Y-%m-%d %H:%M}" if row["goes"] else never
        shown.add_row(row["model"][:12], _ranges(row["ranges"]), said, goes, style=_STYLES.get(state))
    return shown


def differences(one: str, two: str, plain: Row) -> Iterator[RenderableType]:
    """What differs between two versions."""
    before, after = plain["records"]
    yield Text(f"records: {before:,} -> {after:,} ({after - before:+,})")
    for word in ("added", "removed"):
        for column, dtype in plain[word].items():
            yield Text(f"column {word}: {column} ({dtype})")
    for column, (old, new) in plain["changed"].items():
        yield Text(f"column changed: {column} ({old} -> {new})")
    shown_columns = table(
        fold("column"),
        number("null"),
        number("then"),
        fold(f"values in {one[:6]}"),
        fold(f"values in {two[:6]}"),
        number("PSI"),
        title=f"{one} and {two}",
    )
    for c in plain["columns"]:
        psi = c["psi"]
        style = "bold red" if psi is not None and psi > 0.25 else "yellow" if psi is not None and psi > 0.1 else None
        shown = "" if psi is None else f"{psi:.4f}"
        nulls = [f"{c[side]['nulls']:.1%}" for side in ("one", "two")]
        shown_columns.add_row(c["name"], *nulls, _spread(c["one"]), _spread(c["two"]), shown, style=style)
    yield shown_columns
    yield Text("PSI: population stability index; under 0.1 stable, over 0.25 a major shift")


def _spread(spread: Row) -> str:
    if spread["mean"] is not None:
        return f"{spread['mean']:.4g} ± {spread['std']:.4g}"
    if spread["first"] is not None:
        return f"{spread['first']} to {spread['last']}"
    return ", ".join(f"{value} {share:.0%}" for value, share in spread["top"] or ())


def _ranges(ranges: list[Row]) -> str:
    return ", ".join(f"{r['partition']}:{r['start']}-{r['stop']}" for r in ranges if r["start"] < r["stop"])


def _size(count: int) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count = count / 1000  # type: ignore[assignment]
    return f"{count:.3g} GB"
