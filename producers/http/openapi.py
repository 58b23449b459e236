"""The server's OpenAPI document: made of the pipelines' schemas and the limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import headrace
from headrace.codec.tree import Node, parse
from headrace.producers.http.bodies import AVRO, JSON, LINES, LONGEST_ID
from headrace.producers.http.cloudevents import BATCH, LONGEST, STRUCTURED
from headrace.producers.http.limits import Limits
from headrace.topics.pipeline_topics import PipelineTopics

Json = dict[str, Any]
EXACT = (1 << 53) - 1


def document(pipelines: Mapping[str, PipelineTopics], limits: Limits, *, secured: bool) -> Json:
    """The document. Webhooks are not in it: what they take is their senders' to say.

    Args:
        pipelines: name -> its topics.
        limits: of the server.
        secured: whether callers are asked who they are.
    """
    schemas = _common()
    paths: Json = {}
    for name, topics in pipelines.items():
        event = f"{name}.Event"
        schemas[event] = json_schema(topics.pipeline.raw)
        paths[f"/v1/pipelines/{name}/events"] = {"post": _events(name, event, secured, limits)}
    paths |= {
        "/health": {"get": _get("How the server is", JSON, {"type": "object"}, may_fail=True)},
        "/livez": {"get": _get("200 while the server can go on", "text/plain", {"type": "string"}, may_fail=True)},
        "/readyz": {"get": _get("200 while Kafka takes events", "text/plain", {"type": "string"}, may_fail=True)},
        "/metrics": {"get": _get("OpenMetrics", "application/openmetrics-text", {"type": "string"})},
    }
    found: Json = {
        "openapi": "3.1.0",
        "info": {"title": "headrace ingest", "version": headrace.__version__},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if secured:
        found["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the OIDC issuer."},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    return found


def json_schema(schema: Json) -> Json:
    """The JSON Schema of an Avro record's values in JSON."""
    return _of(parse(schema))


def _events(name: str, event: str, secured: bool, limits: Limits) -> Json:
    one = _ref(event)
    binary = {"type": "string", "format": "binary"}
    batch = {"type": "array", "items": one, "minItems": 1}
    content: Json = {
        JSON: {"schema": {"oneOf": [one, batch]}},
        LINES[0]: {"schema": {"type": "string", "description": "One event a line."}},
        STRUCTURED: {"schema": _cloudevent(one)},
        BATCH: {"schema": {"type": "array", "items": _cloudevent(one), "minItems": 1}},
        AVRO[0]: {"schema": {**binary, "description": "An object container file, or Confluent's wire format."}},
    }
    return {
        "operationId": f"send_{name}",
        "summary": f"Send one or many events to {name}",
        "parameters": [
            {
                "name": "ack",
                "in": "query",
                "schema": {"type": "string", "enum": ["kafka", "none"], "default": "kafka"},
                "description": "When the answer comes: when Kafka has the events, or at once.",
            },
            {
                "name": "partial",
                "in": "query",
                "schema": {"type": "string", "enum": ["true", "false"], "default": "true"},
                "description": "Whether the sound events are sent where others are refused.",
            },
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "pattern": f"^[!#-~]{{1,{LONGEST_ID}}}$"},
                "description": f"A repeat under the same key within {limits.remember_s:g} s sends nothing twice.",
            },
        ],
        "requestBody": {"required": True, "content": content},
        "responses": _responses(secured, limits),
        **({"security": [{"bearer": []}, {"key": []}]} if secured else {}),
    }


def _responses(secured: bool, limits: Limits) -> Json:
    sent = {"oneOf": [_ref("Sent"), _ref("Results")]}
    retry = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds to wait."}}
    refused = {"application/problem+json": {"schema": _ref("Problem")}, JSON: {"schema": _ref("Results")}}
    only = {"application/problem+json": {"schema": _ref("Problem")}}
    found: Json = {
        "200": {"description": "Kafka has every event", "content": {JSON: {"schema": sent}}},
        "202": {
            "description": "Every event is on its way (ack=none)",
            "content": {JSON: {"schema": {"oneOf": [_ref("Accepted"), _ref("Results")]}}},
        },
        "207": {"description": "Some events were refused", "content": {JSON: {"schema": _ref("Results")}}},
        "400": {"description": "The request cannot be read", "content": only},
        "408": {"description": "The body was too slow", "content": only},
        "409": {"description": "Another event was sent under this id", "content": refused},
        "413": {"description": f"More than {limits.body:,} bytes or {limits.events:,} events", "content": refused},
        "415": {"description": "The content type, its charset or encoding is not read", "content": only},
        "422": {"description": "No event fits the schema, or none was sent", "content": refused},
        "429": {"description": "Too many events or requests", "content": only, "headers": retry},
        "502": {"description": "Kafka refused the event", "content": refused},
        "503": {"description": "Kafka is away, or takes too little", "content": refused, "headers": retry},
    }
    if secured:
        found["401"] = {"description": "Who sends is not said, or not truly", "content": only}
        found["403"] = {"description": "They may not send to this pipeline", "content": only}
    return dict(sorted(found.items()))


def _get(summary: str, kind: str, schema: Json, *, may_fail: bool = False) -> Json:
    responses = {"200": {"description": "OK", "content": {kind: {"schema": schema}}}}
    if may_fail:
        responses["503"] = {"description": "Not so; it says why", "content": {kind: {"schema": schema}}}
    return {"summary": summary, "responses": responses}


def _common() -> Json:
    place: Json = {
        "partition": {"type": "integer", "minimum": 0},
        "offset": {"type": "integer", "minimum": 0},
        "repeated": {"type": "boolean", "description": "It had been sent before, and was not sent again."},
    }
    said: Json = {
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "field": {"type": "string", "description": "Path of the field that does not fit."},
    }
    titled = {"type": {"type": "string"}, "title": {"type": "string"}, **said}
    count = {"type": "integer", "minimum": 0}
    return {
        "Sent": _object(place, ["partition", "offset"]),
        "Accepted": _object({"accepted": {"const": 1}}, ["accepted"]),
        "Results": _object(
            {
                "accepted": count,
                "refused": count,
                "results": {"type": "array", "items": _object({**place, **said}, ["status"]), "minItems": 1},
            },
            ["accepted", "refused", "results"],
        ),
        "Problem": _object(titled, ["type", "title", "status", "code", "detail"]),
    }


def _cloudevent(data: Json) -> Json:
    text = {"type": "string", "maxLength": LONGEST, "pattern": "^[^\\u0000-\\u001f]+$"}
    maybe = {"anyOf": [text, {"type": "null"}]}
    properties = {
        "specversion": {"const": "1.0"},
        "id": text,
        "source": text,
        "type": text,
        "subject": maybe,
        "dataschema": maybe,
        "time": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
        "datacontenttype": {"enum": [JSON, None]},
        "data": data,
    }
    extension = {"anyOf": [{**text, "pattern": "^[^\\u0000-\\u001f]*$"}, {"type": ["integer", "boolean", "null"]}]}
    found = _object(properties, ["specversion", "id", "source", "type", "data"])
    return {**found, "additionalProperties": extension, "propertyNames": {"pattern": "^[a-z0-9]{1,100}$"}}


def _object(properties: Json, required: list[str]) -> Json:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _of(node: Node) -> Json:
    found = _plain(node)
    if node.null_branch < 0 or node.kind == "null":
        return found
    return {"anyOf": [found, {"type": "null"}]}


def _plain(node: Node) -> Json:
    match node.kind:
        case "record":
            required = [f.name for f in node.fields if not f.has_default and f.node.null_branch < 0]
            return _object({f.name: _of(f.node) for f in node.fields}, required)
        case "array":
            return {"type": "array", "items": _of(node.fields[0].node)}
        case "map":
            return {"type": "object", "additionalProperties": _of(node.fields[1].node)}
        case "union":
            return {"anyOf": [_of(f.node) for f in node.fields]}
        case "enum":
            return {"enum": list(node.symbols)}
        case "null":
            return {"type": "null"}
    return _LOGICAL.get(node.logical) or _KINDS[node.kind]


_OCTETS: Json = {"type": "string", "pattern": "^[\\u0000-\\u00ff]*$", "description": "A character a byte."}
_NUMBER: Json = {
    "type": "number",
    "description": "The nearest binary number; one written without a point must be held exactly.",
}
_KINDS: dict[str, Json] = {
    "boolean": {"type": "boolean"},
    "int": {"type": "integer", "minimum": -(1 << 31), "maximum": (1 << 31) - 1},
    "long": {"type": "integer", "minimum": -(1 << 63), "maximum": (1 << 63) - 1},
    "float": _NUMBER,
    "double": _NUMBER,
    "string": {"type": "string"},
    "bytes": _OCTETS,
    "fixed": _OCTETS,
}
_TIME: Json = {"type": "string", "format": "date-time", "description": "ISO 8601; without a zone it is UTC."}
_LOCAL: Json = {"type": "string", "description": "ISO 8601 without a zone."}
_LOGICAL: dict[str, Json] = {
    "decimal": {"type": ["number", "string"]},
    "uuid": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date"},
    "time-millis": {"type": "string", "description": "ISO 8601."},
    "time-micros": {"type": "string", "description": "ISO 8601."},
    "timestamp-millis": _TIME,
    "timestamp-micros": _TIME,
    "local-timestamp-millis": _LOCAL,
    "local-timestamp-micros": _LOCAL,
}
