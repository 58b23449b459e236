"""The search engine's documents as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from headrace.cli.tables import name, number, table
from headrace.consumers.forward.rebuild import Rebuilt

SHOWN = 5
"""Refusals that are printed."""


def shown(pipeline: str, rows: list[dict[str, Any]]) -> RenderableType:
    """Documents, offsets read and records to come, topic by topic."""
    heads = ("indices", "documents", "offsets read", "records to come")
    found = table(name("alias"), *map(number, heads), title=f"{pipeline} in the search engine")
    for row in rows:
        counts = (f"{row[key]:,}" for key in ("indices", "documents", "passed", "lag"))
        found.add_row(row["alias"], *counts, style="yellow" if row["lag"] else None)
    notes = (
        "Offsets read are more than documents: each transaction ends with an offset that holds no record.",
        f"`headrace audit {pipeline} --search` compares documents and records one by one.",
    )
    return Group(found, *map(Text, notes))


def rebuilt(made: Sequence[Rebuilt]) -> Iterator[str]:
    """What a rebuild did, line by line."""
    for m in made:
        yield f"{m.topic}: {m.documents:,} documents in {len(m.indices)} new indices; {len(m.dropped)} old ones dropped"
        yield from (f"  refused: {why}" for why in m.refused[:SHOWN])
        if len(m.refused) > SHOWN:
            yield f"  and {len(m.refused) - SHOWN:,} more refused"
