"""Index templates from Avro schemas: which field of a document has which type in the search engine.

A document is one record: its fields at the root, and beside them where it stands in the log and what it is. Those
begin with ``@``, which no Avro name may: a prediction has a ``partition`` and an ``offset`` of its own.
"""

from __future__ import annotations

import re
from typing import Any

from headrace.codec.tree import Node, parse
from headrace.codec.types import avro_fields
from headrace.declare.pipeline import Pipeline
from headrace.errors import ConfigError, SchemaError
from headrace.schema.own import full_name
from headrace.topics.table import Topic

Mapping = dict[str, Any]

PROSE = frozenset({"detail", "note", "reason", "summary", "traceback"})
"""String fields that hold sentences: found by their words, and, where short, as they are under ``.keyword``."""
LONGEST_KEYWORD = 8191
"""UTF-16 units of a string that any engine on Lucene can index whole: a term has 32,766 bytes."""
SHORT_PROSE = 256
LEAST_FIELDS_LIMIT = 1000
"""The engine's own limit on the fields of an index."""
PRIORITY = 500
META = {"managed_by": "headrace"}
"""Says of a template whose it is."""

_KEYWORD: Mapping = {"type": "keyword", "ignore_above": LONGEST_KEYWORD}
_PROSE: Mapping = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": SHORT_PROSE}}}
_DATE: Mapping = {"type": "date", "format": "strict_date_time||epoch_millis"}
_LOCAL_DATE: Mapping = {"type": "date", "format": "strict_date_optional_time||epoch_millis"}
_KINDS: dict[str, Mapping] = {
    "null": {"type": "boolean"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer"},
    "long": {"type": "long"},
    "float": {"type": "float"},
    "double": {"type": "double"},
    "string": _KEYWORD,
    "enum": _KEYWORD,
    "bytes": {"type": "binary"},
    "fixed": {"type": "binary"},
    "map": {"type": "object", "enabled": False},  # its keys are data: as fields they would grow without end
}
_LOGICAL: dict[str, Mapping] = {
    "date": {"type": "date", "format": "strict_date"},
    "timestamp-micros": _DATE,
    "timestamp-millis": _DATE,
    "local-timestamp-micros": _LOCAL_DATE,
    "local-timestamp-millis": _LOCAL_DATE,
    "decimal": {"type": "double"},  # for ranges and sums; the document itself keeps every digit
}
COORDINATES: dict[str, Mapping] = {
    "@id": _KEYWORD,
    "@topic": _KEYWORD,
    "@partition": {"type": "integer"},
    "@offset": {"type": "long"},
    "@record": _KEYWORD,
    "@time": _DATE,
    "@not_finite": _KEYWORD,
}
"""The document's id and what it is made of, where a record stands in the log; the name of its type; when what it tells
of happened; and which of its numbers are no numbers to JSON (NaN, infinities), which is why they are null here."""
FEATURES = "features"
"""Field of a prediction's document that holds what was scored."""
TIMES = {"Prediction": "event_time", "Outcome": "event_time", "Metric": "window_end"}
"""Record type -> the field that says when; the others have a field ``at``."""


def alias(pipeline: Pipeline, topic: Topic) -> str:
    """Under what name people search a topic's records, e.g. ``flights-predictions``; the template's name too.

    Raises:
        ConfigError: the engine does not take the pipeline's name.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", pipeline.name):
        raise ConfigError(
            f"pipeline {pipeline.name!r} cannot be forwarded to search: an index is named in small letters, digits, "
            "'-' and '_', and begins with a letter or digit; give the pipeline such a name"
        )
    return f"{pipeline.name}-{topic.name}"


def properties(pipeline: Pipeline, topic: Topic) -> dict[str, Mapping]:
    """The fields of a topic's documents, but those of :data:`COORDINATES`.

    Raises:
        SchemaError: two record types of the topic have a field of one name and different types.
    """
    found = _merged(topic.schemas(pipeline), topic.name)
    if topic.name != "predictions":
        return found
    scored = properties_of(pipeline.feature_schema)
    return {**found, FEATURES: {"type": "object", "properties": {n: scored[n] for n in pipeline.feature_columns}}}


def template(name: str, fields: dict[str, Mapping], lifecycle: str = "") -> Mapping:
    """The body of ``PUT _index_template/NAME``: indices named ``NAME.*`` hold these fields, no others."""
    return {
        "index_patterns": [f"{name}.*"],
        "priority": PRIORITY,
        "meta": META,
        "template": index(name, fields, lifecycle),
    }


def index(name: str, fields: dict[str, Mapping], lifecycle: str = "") -> Mapping:
    """The body of ``PUT INDEX`` for one that is found under ``name`` too; ``lifecycle`` names its policy, if any."""
    limit = max(LEAST_FIELDS_LIMIT, fields_in(fields))
    settings: Mapping = {"index.number_of_shards": 1, "index.mapping.total_fields.limit": limit}
    if lifecycle:
        settings["index.lifecycle.name"] = lifecycle
    return {
        "settings": settings,
        "mappings": {"dynamic": "strict", "properties": fields},
        "aliases": {name: {}},
    }


def properties_of(schema: dict[str, Any]) -> dict[str, Mapping]:
    """Field -> its type in the engine, for a record schema, in the schema's order.

    Raises:
        SchemaError: ``schema`` is no Avro record, or holds itself.
    """
    avro_fields(schema)
    return _properties(parse(schema))


def fields_in(properties: dict[str, Mapping]) -> int:
    """How many fields the engine counts: objects and second ways to look at a field too."""
    return sum(
        1 + fields_in(mapping.get("properties", {})) + len(mapping.get("fields", {})) for mapping in properties.values()
    )


def _properties(record: Node) -> dict[str, Mapping]:
    return {field.name: _mapping(field.name, field.node) for field in record.fields}


def _mapping(name: str, node: Node) -> Mapping:
    match node.kind:
        case "record" | "union":  # a union's branches are named as in headrace.codec.types
            return {"type": "object", "properties": _properties(node)}
        case "array":  # to the engine, many values of a field are of the type of one
            return _mapping(name, node.fields[0].node)
        case "string" if name in PROSE:
            return _PROSE
    return _LOGICAL.get(node.logical, _KINDS[node.kind])


def _merged(schemas: list[dict[str, Any]], topic: str) -> dict[str, Mapping]:
    merged: dict[str, Mapping] = {}
    first: dict[str, str] = {}
    for schema in schemas:
        record = full_name(schema)
        for name, mapping in properties_of(schema).items():
            if merged.setdefault(name, mapping) != mapping:
                raise SchemaError(
                    f"topic {topic}: field {name!r} is {_said(merged[name])} in {first[name]} and {_said(mapping)} in "
                    f"{record}; one index holds both records, so name one of the fields otherwise"
                )
            first.setdefault(name, record)
    return merged


def _said(mapping: Mapping) -> str:
    return f"{mapping['type']} of {sorted(mapping['properties'])}" if "properties" in mapping else str(mapping["type"])
