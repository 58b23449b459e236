"""Index templates say of every field of every record what it is, and of nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.consumers.forward.templates import COORDINATES, alias, fields_in, properties, properties_of, template
from headrace.declare.pipeline import Pipeline
from headrace.errors import ConfigError, SchemaError
from headrace.examples.flights.pipeline import flights
from headrace.topics.table import TOPICS, Topic

DATE = {"type": "date", "format": "strict_date_time||epoch_millis"}
KEYWORD = {"type": "keyword", "ignore_above": 8191}
PROSE = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
LEAVES: list[tuple[Any, dict[str, Any]]] = [
    ("boolean", {"type": "boolean"}),
    ("int", {"type": "integer"}),
    ("long", {"type": "long"}),
    ("float", {"type": "float"}),
    ("double", {"type": "double"}),
    ("string", KEYWORD),
    ("bytes", {"type": "binary"}),
    ({"type": "fixed", "name": "Hash", "size": 4}, {"type": "binary"}),
    ({"type": "enum", "name": "Side", "symbols": ["LEFT"]}, KEYWORD),
    ({"type": "string", "logicalType": "uuid"}, KEYWORD),
    ({"type": "long", "logicalType": "timestamp-micros"}, DATE),
    ({"type": "long", "logicalType": "timestamp-millis"}, DATE),
    ({"type": "int", "logicalType": "date"}, {"type": "date", "format": "strict_date"}),
    ({"type": "long", "logicalType": "time-micros"}, {"type": "long"}),
    ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, {"type": "double"}),
    ({"type": "map", "values": "double"}, {"type": "object", "enabled": False}),
]
TYPES = {"boolean", "integer", "long", "float", "double", "keyword", "text", "binary", "date", "object"}


def template_of(pipeline: Pipeline, topic: Topic) -> dict[str, Any]:
    """The template of a topic's documents that nothing is kept back of."""
    return template(alias(pipeline, topic), {**properties(pipeline, topic), **COORDINATES})


FEATURES = {
    name: KEYWORD if name in flights.groups else {"type": "long" if dtype.is_integer() else "double"}
    for name, dtype in flights.feature_columns.items()
}


def record(fields: list[tuple[str, Any]], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}


def types() -> st.SearchStrategy[tuple[Any, dict[str, Any]]]:
    """An Avro type without a name of its own, and what it is in the engine."""
    leaf = st.sampled_from([leaf for leaf in LEAVES if not (isinstance(leaf[0], dict) and "name" in leaf[0])])
    return leaf | leaf.map(lambda t: ({"type": "array", "items": t[0]}, t[1]))


@pytest.mark.parametrize(("avro", "mapping"), LEAVES)
def test_each_avro_type_has_its_type_in_the_engine(avro: Any, mapping: dict[str, Any]) -> None:
    assert properties_of(record([("x", avro)])) == {"x": mapping}


@given(types())
def test_to_be_optional_or_many_changes_nothing(drawn: tuple[Any, dict[str, Any]]) -> None:
    avro, mapping = drawn
    many = {"type": "array", "items": avro}
    for shape in (avro, ["null", avro], [avro, "null"], many, ["null", many], {"type": "array", "items": many}):
        assert properties_of(record([("x", shape)])) == {"x": mapping}


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True), types(), max_size=6))
def test_every_field_is_named_once_in_the_schemas_order_and_none_is_a_coordinate(
    drawn: dict[str, tuple[Any, dict[str, Any]]],
) -> None:
    inner = record([(name, avro) for name, (avro, _) in drawn.items()], "Inner")
    outer = record([("inner", inner), ("again", {"type": "array", "items": "Inner"})])
    found = properties_of(inner)
    assert list(found) == list(drawn)
    assert found.keys().isdisjoint(COORDINATES)
    assert properties_of(outer) == {name: {"type": "object", "properties": found} for name in ("inner", "again")}
    assert fields_in(properties_of(outer)) == 2 + 2 * fields_in(found)


def test_sentences_are_text_where_they_are_strings() -> None:
    found = properties_of(record([("reason", "string"), ("note", ["null", "string"]), ("summary", "long")]))
    assert found == {"reason": PROSE, "note": PROSE, "summary": {"type": "long"}}


def test_a_union_is_an_object_of_its_branches() -> None:
    found = properties_of(record([("x", ["null", "long", "string"])]))
    assert found == {"x": {"type": "object", "properties": {"member0": {"type": "long"}, "member1": KEYWORD}}}


def test_the_template_of_predictions() -> None:
    assert template_of(flights, TOPICS["predictions"]) == {
        "index_patterns": ["flights-predictions.*"],
        "priority": 500,
        "meta": {"managed_by": "headrace"},
        "template": {
            "settings": {"index.number_of_shards": 1, "index.mapping.total_fields.limit": 1000},
            "mappings": {
                "dynamic": "strict",
                "properties": {
                    "id": KEYWORD,
                    "key": KEYWORD,
                    "event_time": DATE,
                    "partition": {"type": "integer"},
                    "offset": {"type": "long"},
                    "model_id": KEYWORD,
                    "marker_offset": {"type": "long"},
                    "route": KEYWORD,
                    "outputs": {"type": "float"},
                    "runtime": KEYWORD,
                    "features": {"type": "object", "properties": FEATURES},
                    "@id": KEYWORD,
                    "@topic": KEYWORD,
                    "@partition": {"type": "integer"},
                    "@offset": {"type": "long"},
                    "@record": KEYWORD,
                    "@time": DATE,
                    "@not_finite": KEYWORD,
                },
            },
            "aliases": {"flights-predictions": {}},
        },
    }


@pytest.mark.parametrize("topic", TOPICS.values(), ids=list(TOPICS))
def test_a_topics_template_has_the_fields_of_all_its_records(topic: Topic) -> None:
    found = template_of(flights, topic)["template"]["mappings"]["properties"]
    fields = {field["name"] for schema in topic.schemas(flights) for field in schema["fields"]}
    assert set(found) == fields | set(COORDINATES) | ({"features"} if topic.name == "predictions" else set())
    assert {mapping["type"] for mapping in found.values()} <= TYPES


def test_a_pipeline_of_many_fields_raises_the_engines_limit() -> None:
    wide = with_fields([(f"f{i}", "long") for i in range(2000)])
    settings = template_of(wide, TOPICS["raw"])["template"]["settings"]
    assert settings["index.mapping.total_fields.limit"] == len(flights.raw["fields"]) + 2000 + len(COORDINATES)


def test_two_records_that_disagree_on_a_field_are_refused() -> None:
    wrong = replace(TOPICS["features"], records=("raw", "PolicyMarker"))
    with pytest.raises(SchemaError) as caught:
        template_of(with_fields([("policy", "long")]), wrong)
    assert str(caught.value) == (
        "topic features: field 'policy' is long in examples.flights.FlightEvent and object of "
        "['backlog', 'routes', 'salt', 'shadows'] in headrace.PolicyMarker; one index holds both "
        "records, so name one of the fields otherwise"
    )


@pytest.mark.parametrize("name", ["Flights", "_flights", "-flights"])
def test_a_name_that_the_engine_does_not_take_is_one_clear_line(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^pipeline '{name}' cannot be forwarded to search: .* such a name$"):
        alias(renamed(name), TOPICS["raw"])


@pytest.mark.slow
@given(st.sets(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,5}", fullmatch=True), min_size=2, max_size=2))
def test_no_index_of_one_pipeline_and_topic_matches_anothers_pattern(names: set[str]) -> None:
    every = [(name, topic) for name in names for topic in TOPICS.values()]
    patterns = [template_of(renamed(name), topic)["index_patterns"][0] for name, topic in every]
    starts = [pattern.removesuffix("*") for pattern in patterns]
    assert [(a, b) for a in starts for b in starts if a != b and a.startswith(b)] == []
    assert len(set(starts)) == len(every)


def with_fields(fields: list[tuple[str, Any]]) -> Pipeline:
    own = record(fields)["fields"]
    return replace(flights, raw={**flights.raw, "fields": [*flights.raw["fields"], *own]})


def renamed(name: str) -> Pipeline:
    return replace(flights, name=name)
