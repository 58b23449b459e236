"""A pipeline's topics as tables."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from headrace.cli.tables import fold, name, number, table
from headrace.query.topics import TopicView
from headrace.runner.processors import PARTIES
from headrace.topics.parties import readers, writers


def shown(pipeline: str, views: list[TopicView]) -> RenderableType:
    """How far each topic reaches, then what it carries and who uses it."""
    counted = any(view.records is not None for view in views)
    records = [number("records")] if counted else []
    reach = table(
        name("topic"), *records, number("offsets"), fold("partition:first-end"), title=f"topics of {pipeline}"
    )
    for view in views:
        offsets = sum(span.stop - span.start for span in view.offsets.values())
        count = [f"{sum(view.records.values()):,}"] if view.records is not None else []
        reach.add_row(view.topic, *count, f"{offsets:,}", _ranges(view))
    use = table(name("topic"), fold("carries"), fold("written by"), fold("read by"), name("kept"))
    for view in views:
        parties = (", ".join(find(view.name, PARTIES)) for find in (writers, readers))
        use.add_row(view.name, ", ".join(view.carries), *parties, view.kept)
    hint = "" if counted else "offsets count transaction markers too: --count reads the topics and counts records"
    return Group(reach, *([Text(hint)] if hint else []), Text(), use)


def _ranges(view: TopicView) -> str:
    return "  ".join(f"{p}:{span.start}-{span.stop}" for p, span in view.offsets.items())
