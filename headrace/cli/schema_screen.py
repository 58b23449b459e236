"""The changes between registered and declared schemas as a table."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from headrace.cli.tables import fold, name, table
from headrace.topics.evolution import Subject


def shown(subjects: list[Subject]) -> RenderableType:
    """What each subject's state is, then each change and who cannot read what after it."""
    states = table(name("topic"), name("record"), name("schema"))
    for subject in subjects:
        states.add_row(subject.topic, subject.record, subject.state)
    rows = [(subject, change) for subject in subjects for change in subject.changes]
    if not rows:
        return states
    changed = table(
        name("topic"),
        name("field"),
        name("change"),
        fold("was"),
        fold("is"),
        fold("old records by the new schema"),
        fold("new records by the old schema"),
    )
    for subject, c in rows:
        old, new = (why or "read" for why in (c.old_records, c.new_records))
        if c.what == "values":
            old, new = (f"{said}, by the writer's own type alone" if said == "read" else said for said in (old, new))
        changed.add_row(subject.topic, c.field, c.what, c.old, c.new, old, new)
    objections = [Text(s.objection) for s in subjects if s.objection]
    return Group(states, Text(), changed, *objections)
