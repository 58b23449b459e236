"""What changes between two schemas of a record, who reads what, and which changes `init` refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headrace.codec.changes import changes
from headrace.errors import SchemaError
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import RAW, toy
from headrace.topics.evolution import subjects
from headrace.topics.pipeline_topics import PipelineTopics


def record(*fields: tuple[str, Any] | tuple[str, Any, Any], **more: Any) -> dict[str, Any]:
    made = [{"name": f[0], "type": f[1], **({"default": f[2]} if len(f) > 2 else {})} for f in fields]
    return {"type": "record", "name": "R", "fields": made, **more}


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **more}


def decimal(scale: int, precision: int = 9) -> dict[str, Any]:
    return logical("bytes", "decimal", precision=precision, scale=scale)


MILLIS, MICROS = logical("long", "timestamp-millis"), logical("long", "timestamp-micros")
E = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
A = ("a", "long")
NO_DEFAULT = "the field has no default"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (record(A), record(A), []),
        (record(A), record(A, ("b", "string", "")), [("b", "added", "", "string", "", "")]),
        (record(A), record(A, ("b", "string")), [("b", "added", "", "string", NO_DEFAULT, "")]),
        (record(A, ("b", "string")), record(A), [("b", "removed", "string", "", "", NO_DEFAULT)]),
        (record(A, ("b", "string", "")), record(A), [("b", "removed", "string", "", "", "")]),
        (
            record(("a", "int")),
            record(A),
            [("a", "type", "int", "long", "", "long is not read as int")],
        ),
        (
            record(A),
            record(("a", ["null", "long"])),
            [("a", "type", "long", "long | null", "", "null is not taken")],
        ),
        (
            record(A),
            record(("a", ["null", "string", "long"])),
            [("a", "type", "long", "null | string | long", "", "string is not read as long")],
        ),
        (
            record(("d", decimal(3))),
            record(("d", decimal(2))),
            [("d", "values", "decimal(9, 3)", "decimal(9, 2)", "", "")],
        ),
        (
            record(("d", decimal(3))),
            record(("d", decimal(3, 12))),
            [("d", "type", "decimal(9, 3)", "decimal(12, 3)", "", "")],
        ),
        (
            record(("t", MILLIS)),
            record(("t", MICROS)),
            [("t", "values", "timestamp-millis", "timestamp-micros", "", "")],
        ),
        (
            record(("t", MILLIS)),
            record(("t", ["null", MICROS])),
            [
                ("t", "type", "timestamp-millis", "timestamp-micros | null", "", "null is not taken"),
                ("t", "values", "timestamp-millis", "timestamp-micros", "", ""),
            ],
        ),
        (
            record(("t", ["null", "string", decimal(3)])),
            record(("t", ["null", "string", decimal(2)])),
            [
                ("t", "type", "null | string | decimal(9, 3)", "null | string | decimal(9, 2)", "", ""),
                ("t", "values", "decimal(9, 3)", "decimal(9, 2)", "", ""),
            ],
        ),
        (
            record(("t", logical("int", "date"))),
            record(("t", MICROS)),
            [
                (
                    "t",
                    "values",
                    "date",
                    "timestamp-micros",
                    "date means something else than timestamp-micros",
                    "timestamp-micros is not read as date",
                )
            ],
        ),
        (record(("t", "long")), record(("t", MICROS)), [("t", "type", "long", "timestamp-micros", "", "")]),
        (
            record(("t", ["null", {"type": "array", "items": MILLIS}])),
            record(("t", ["null", {"type": "array", "items": MICROS}])),
            [("t[]", "values", "timestamp-millis", "timestamp-micros", "", "")],
        ),
        (
            record(("r", record(("t", MILLIS), name="Inner"))),
            record(("r", record(("t", logical("long", "local-timestamp-millis")), name="Inner"))),
            [
                (
                    "r.t",
                    "values",
                    "timestamp-millis",
                    "local-timestamp-millis",
                    "timestamp-millis means something else than local-timestamp-millis",
                    "local-timestamp-millis means something else than timestamp-millis",
                )
            ],
        ),
        (
            record(("e", E)),
            record(("e", {**E, "symbols": ["B", "C"], "default": "C"})),
            [("e", "symbols", "A, B", "B, C", "", "it does not have C")],
        ),
        (record(("a", "long", 1)), record(("a", "long", 2)), [("a", "default", "1", "2", "", "")]),
        (record(A), record(A, name="S", aliases=["R"]), [("", "renamed", "R", "S", "", "")]),
        (
            record(A),
            {**record(), "fields": [{"name": "z", "type": "long", "aliases": ["a"]}]},
            [("z", "renamed", "a", "z", "", "it does not have a")],
        ),
    ],
)
def test_the_changes_between_two_schemas(old: Any, new: Any, found: list[tuple[str, ...]]) -> None:
    assert [tuple(c.plain().values()) for c in changes(old, new)] == found


FIELDS: list[dict[str, Any]] = RAW["fields"]  # type: ignore[assignment]


def changed(**types: Any) -> dict[str, Any]:
    return {**RAW, "fields": [{**f, "type": types.get(f["name"], f["type"])} for f in FIELDS]}


def with_raw(topics: PipelineTopics, raw: dict[str, Any]) -> PipelineTopics:
    return PipelineTopics(replace(topics.pipeline, raw=raw), topics.log, topics.registry)


def test_init_refuses_a_schema_that_gives_old_values_another_meaning_unless_told_so() -> None:
    topics = in_memory(toy("means"))
    later = with_raw(topics, changed(at=MILLIS))
    with pytest.raises(SchemaError) as caught:
        later.init()
    assert str(caught.value) == (
        "means.raw: field at was timestamp-micros and is now timestamp-millis: old values would be read as others by "
        "whoever reads them by the new schema. Add a field with a new name; or, if every reader goes by the writer's "
        "own type, as headrace does, register it with `headrace schema evolve PIPELINE --yes --other-values`"
    )
    assert topics.registry.latest("means.raw-Click") == RAW
    later.init(other_values=True)
    later.init()
    topics.init()  # registered before, in another version: nothing changes


def test_a_record_that_is_renamed_is_held_against_the_subject_of_its_alias() -> None:
    topics = in_memory(toy("renames"))
    later = with_raw(topics, {**changed(at=MILLIS), "name": "Tap", "aliases": ["Click"]})
    with pytest.raises(SchemaError, match=r"^renames\.raw: field at was timestamp-micros and is now timestamp-millis"):
        later.init()


def test_each_subject_is_held_against_the_registry() -> None:
    topics = in_memory(toy("held"))
    wider = {**RAW, "fields": [*FIELDS, {"name": "via", "type": "string", "default": ""}]}
    required = {**RAW, "fields": [*FIELDS, {"name": "via", "type": "string"}]}
    less = {**RAW, "fields": FIELDS[:-2]}
    found = subjects(topics.registry, {"held.raw": [RAW, wider, required, less], "held.else": [RAW]})
    assert [(s.topic, s.name, s.state, len(s.changes), s.first) for s in found] == [
        ("held.raw", "held.raw-Click", "registered", 0, "any"),
        ("held.raw", "held.raw-Click", "changed", 1, "any"),
        ("held.raw", "held.raw-Click", "changed", 1, "nobody"),
        ("held.raw", "held.raw-Click", "changed", 2, "readers"),
        ("held.else", "held.else-Click", "new", 0, "any"),
    ]
