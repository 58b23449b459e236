"""A pipeline's schemas as they are declared, held against those that are registered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from headrace.codec.changes import Change, changes
from headrace.errors import SchemaError
from headrace.schema.own import full_name
from headrace.schema.registry import Registry, subject_of
from headrace.topics.parties import PEOPLE, Party, readers, writers

Schema = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A record type of a topic.

    Attributes:
        topic: full name.
        name: the registry's subject.
        record: full name of the record.
        state: ``registered``: as it is declared, in some version; ``new``: the subject has no schema yet.
        changes: from the newest registered schema to the declared one.
        objection: why the registry would not take the declared one; "": it would.
    """

    topic: str
    name: str
    record: str
    state: Literal["registered", "new", "changed"]
    changes: tuple[Change, ...] = ()
    objection: str = ""

    @property
    def other_values(self) -> list[Change]:
        """Changes that no registry sees, and after which a reader may take old values for others."""
        return [c for c in self.changes if c.what == "values"]

    @property
    def first(self) -> Literal["any", "readers", "nobody"]:
        """Who is to be changed first: either side, those who read the topic; ``nobody``: old records are not read."""
        if any(c.old_records for c in self.changes):
            return "nobody"
        return "readers" if any(c.new_records for c in self.changes) else "any"

    def plain(self) -> dict[str, object]:
        """The subject as JSON has it."""
        return {
            "topic": self.topic,
            "subject": self.name,
            "record": self.record,
            "state": self.state,
            "objection": self.objection,
            "first": self.first if self.changes else "",
            "changes": [c.plain() for c in self.changes],
        }


def subjects(registry: Registry, declared: Mapping[str, Sequence[Schema]]) -> list[Subject]:
    """The record types of topics (full name -> their schemas), each held against the registry."""
    return [_subject(registry, topic, schema) for topic, schemas in declared.items() for schema in schemas]


def refuse_other_values(registry: Registry, topic: str, schema: Schema) -> None:
    """Refuse a schema whose values would be read as others than those registered before mean.

    Raises:
        SchemaError: it is such; the message names the field.
    """
    before = _before(registry, topic, schema)
    changed = [c for c in changes(before, schema) if c.what == "values"] if before is not None else []
    if changed:
        c = changed[0]
        raise SchemaError(
            f"{topic}: field {c.field} was {c.old} and is now {c.new}: old values would be read as others by whoever "
            f"reads them by the new schema. Add a field with a new name; or, if every reader goes by the writer's own "
            f"type, as headrace does, register it with `headrace schema evolve PIPELINE --yes --other-values`"
        )


def _subject(registry: Registry, topic: str, schema: Schema) -> Subject:
    name, record = subject_of(topic, schema), full_name(schema)
    before = _before(registry, topic, schema)
    if before is None:
        state: Literal["registered", "new"] = "registered" if registry.holds(name, schema) else "new"
        return Subject(topic, name, record, state)
    found = tuple(changes(before, schema))
    return Subject(topic, name, record, "changed", found, registry.objection(name, schema))


def _before(registry: Registry, topic: str, schema: Schema) -> Schema | None:
    """The newest schema registered for a record type, by its name or one of its aliases.

    None: there is none, or the declared one is registered itself.
    """
    name = subject_of(topic, schema)
    if registry.holds(name, schema):
        return None
    space = full_name(schema).rpartition(".")[0]
    aliases = [a if "." in a or not space else f"{space}.{a}" for a in schema.get("aliases", ())]
    for subject in (name, *(f"{topic}-{alias}" for alias in aliases)):
        if (found := registry.latest(subject)) is not None:
            return found
    return None


@dataclass(frozen=True)
class Step:
    """Something to do, in its order. ``blocked``: the declaration is to be mended first, and nothing is registered."""

    what: str
    blocked: bool = False


def steps(found: Sequence[Subject], parties: Iterable[Party], *, other_values: bool = False) -> list[Step]:
    """What is to be done so that the declared schemas are in use, in which order.

    Args:
        found: the subjects; those that are registered as declared need nothing.
        parties: who reads and writes the topics.
        other_values: whether changes that give old values another meaning are accepted.
    """
    parties = [p for p in parties if p is not PEOPLE]
    changed = [s for s in found if s.state != "registered"]
    blocks = [Step(why, blocked=True) for s in changed for why in _blocks(s, other_values=other_values)]
    if blocks or not changed:
        return blocks
    new = [Step(f"register {s.name}") for s in changed]
    orders = [Step(_order(s, parties)) for s in changed if s.state == "changed"]
    return [*new, *orders]


def _blocks(subject: Subject, *, other_values: bool) -> Iterator[str]:
    for c in subject.changes:
        if c.what == "added" and c.old_records:
            mend = (
                "give it a default"
                if subject.topic.endswith(".raw")
                else f"name it in the pipeline's added=({c.field!r},): older records then have null there"
            )
            yield f"{subject.topic}: field {c.field} is new and has no default, so older records cannot be read: {mend}"
        elif c.old_records:
            yield f"{subject.topic}: field {c.field} ({c.old} to {c.new}): {c.old_records}; add a field with a new name"
        elif c.what == "values" and not other_values:
            yield (
                f"{subject.topic}: field {c.field} was {c.old} and is now {c.new}: readers that do not go by the "
                "writer's own type would read other values; add a field with a new name, or give --other-values"
            )
    if subject.objection and not any(c.old_records for c in subject.changes):
        yield subject.objection


def _order(subject: Subject, parties: Sequence[Party]) -> str:
    short = subject.topic.rpartition(".")[2]
    by = writers(short, parties)
    writing = ", ".join(by)
    # Who writes a topic may read its own records, too: that is no reader that others write for.
    reading = ", ".join(name for name in readers(short, parties) if name not in by)
    if subject.first == "any":
        return f"{subject.topic}: restart {writing} and {reading} with the new declaration, in any order"
    return f"{subject.topic}: restart {reading} with the new declaration first, and {writing} after them"
