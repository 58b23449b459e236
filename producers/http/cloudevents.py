"""CloudEvents 1.0: where their attributes are, and the id that makes a repeat recognisable."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from headrace.producers.http.door import Headers
from headrace.producers.http.problem import Problem

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
PREFIX = b"ce-"
_REQUIRED = ("id", "source", "specversion", "type")
_TEXTS = (*_REQUIRED, "subject", "dataschema", "datacontenttype", "time")
"""Attributes that CloudEvents itself knows: each is text."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_NAME = re.compile("[a-z0-9]+", re.ASCII)
LONGEST = 1_000


class Envelope(NamedTuple):
    """A CloudEvent without its data.

    Attributes:
        id: of the event, by its source and its own id.
        headers: its attributes as headers of a record, as CloudEvents' binding for Kafka has them.
        content_type: of its data; empty: JSON.
    """

    id: str
    headers: Headers
    content_type: str


def structured(event: Any) -> tuple[Envelope, Any]:
    """The envelope and the data of a CloudEvent in JSON; data that came as ``data_base64`` is bytes.

    Raises:
        Problem: 422: it is no CloudEvent.
    """
    if not isinstance(event, dict):
        raise Problem(422, "not_cloudevent", "a CloudEvent is a JSON object")
    attributes = {}
    for name, value in event.items():
        if name in ("data", "data_base64") or value is None:
            continue
        if name in _TEXTS and not isinstance(value, str):
            raise Problem(422, "not_cloudevent", f"the attribute {name} is no text")
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str | int):
            raise Problem(422, "not_cloudevent", f"the attribute {name[:60]} is neither text, number nor boolean")
        attributes[name] = str(value)
    if "data_base64" in event:
        if "data" in event:
            raise Problem(422, "not_cloudevent", "it has both data and data_base64")
        try:
            data: Any = base64.b64decode(event["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise Problem(422, "not_cloudevent", "its data_base64 is not base64") from None
    else:
        data = event.get("data")
    return envelope(attributes), data


def binary(headers: Mapping[bytes, bytes], content_type: str) -> Envelope:
    """The envelope of a CloudEvent whose attributes are headers of the request.

    Raises:
        Problem: 400: one is missing, or wrong.
    """
    attributes = {}
    for name, value in headers.items():
        if name.startswith(PREFIX):
            try:
                attributes[name[len(PREFIX) :].decode()] = unquote_to_bytes(value).decode()
            except UnicodeDecodeError:
                raise Problem(400, "not_cloudevent", f"the header {name!r} is not UTF-8") from None
    try:
        return envelope({**attributes, "datacontenttype": content_type})
    except Problem as e:
        raise Problem(400, e.code, e.detail) from None


def envelope(attributes: Mapping[str, str]) -> Envelope:
    """The envelope of these attributes.

    Raises:
        Problem: 422: one is missing, or wrong.
    """
    for name in _REQUIRED:
        if not attributes.get(name):
            raise Problem(422, "not_cloudevent", f"the CloudEvent has no {name}")
    for name in _TEXTS:
        if attributes.get(name) == "":
            raise Problem(422, "not_cloudevent", f"the attribute {name} is empty")
    if attributes["specversion"] != "1.0":
        raise Problem(422, "not_cloudevent", f"its specversion is {attributes['specversion'][:20]}, and 1.0 is read")
    if "time" in attributes and not _TIME.fullmatch(attributes["time"]):
        raise Problem(422, "not_cloudevent", "its time is not written as RFC 3339 has it: 2024-03-01T10:00:00Z")
    for name, value in attributes.items():
        if not _NAME.fullmatch(name):
            raise Problem(422, "not_cloudevent", f"{name[:60]!r} is no name of an attribute: a-z and 0-9 alone are")
        if len(value) > LONGEST:
            raise Problem(422, "not_cloudevent", f"the attribute {name} has more than {LONGEST:,} characters")
        if any(c < " " or "\ud800" <= c <= "\udfff" for c in value):
            raise Problem(422, "not_cloudevent", f"the attribute {name} has a control character")
    # The record itself is Avro, whatever the data was.
    headers: Headers = [(f"ce_{n}", v.encode()) for n, v in attributes.items() if n != "datacontenttype"]
    return Envelope(
        f"ce {len(attributes['source'])} {attributes['source']} {attributes['id']}",
        headers,
        attributes.get("datacontenttype", ""),
    )
