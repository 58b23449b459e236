"""The body of a request to the events it holds, by its content type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from headrace.codec.wire import Code
from headrace.errors import ConfigError
from headrace.producers.http import avro_file, cloudevents
from headrace.producers.http.door import Event, Headers
from headrace.producers.http.encoding import AvroEncoder, JsonEncoder, Record, exactly
from headrace.producers.http.ids import SEPARATOR
from headrace.producers.http.limits import Limits
from headrace.producers.http.problem import Problem
from headrace.topics.pipeline_topics import PipelineTopics

JSON = "application/json"
LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines", "application/json-lines")
AVRO = ("application/avro", "avro/binary", "application/vnd.apache.avro", "application/x-avro")
TAKEN = (JSON, LINES[0], AVRO[0], cloudevents.STRUCTURED, cloudevents.BATCH)
"""Content types, one of each kind."""
LONGEST_ID = 255


class Found(NamedTuple):
    """The events of a body, or why one of them is none, in order; and whether the body is that of one event."""

    events: Sequence[Event | Problem]
    single: bool


class Bodies:
    """Reads bodies for one pipeline.

    Args:
        topics: the pipeline's topics.
        limits: of the server.
    """

    def __init__(self, topics: PipelineTopics, limits: Limits) -> None:
        self._topics = topics
        self._most = limits.events
        self._cap = limits.body
        self.json = JsonEncoder(topics)
        self._avro = AvroEncoder(topics)
        self._codec = topics.codec("raw")
        self._header = self._codec.header()

    def read(self, body: bytes, headers: Mapping[bytes, bytes], caller: str) -> Found:
        """The events of a body.

        Args:
            body: decompressed.
            headers: of the request.
            caller: who sent it: ids are each caller's own.

        Raises:
            Problem: 400, 413, 415 or 422: it cannot be read as events.
        """
        given = headers.get(b"content-type", b"")
        kind = JSON if given == b"application/json" else content_type(given)
        id = _id(headers.get(b"idempotency-key"), caller)
        if b"ce-specversion" in headers:
            envelope = cloudevents.binary(headers, kind)
            event = self._single(body, kind)
            return Found([_named(event, f"{caller}{SEPARATOR}{envelope.id}", envelope.headers)], True)
        if kind == cloudevents.STRUCTURED:
            return Found([self._cloudevent(exactly(body), caller)], True)
        if kind == cloudevents.BATCH:
            many = exactly(body)
            if not isinstance(many, list):
                raise Problem(422, "not_batch", "a batch of CloudEvents is a JSON array")
            self._check_count(len(many))
            return Found([self._cloudevent_or_not(event, caller) for event in many], False)
        if kind == JSON or (kind.endswith("+json") and kind.startswith("application/")):
            return self._json(body, id)
        if kind in LINES:
            return Found(_numbered(self._lines(body), id), False)
        if kind in AVRO:
            return self._avro_body(body, id)
        raise _unread(kind)

    def _json(self, body: bytes, id: str) -> Found:
        if body[:1] == b"{" or body.lstrip(b" \t\r\n")[:1] != b"[":
            # A body of one event, and all that is no JSON.
            key, value = self.json.text(body)
            return Found([Event(key, value, id)], True)
        return Found(_numbered(self.json.array(body, self._check_count), id), False)

    def _record(self, event: Any) -> Record:
        if not isinstance(event, dict):
            raise Problem(422, "not_event", "an event is a JSON object")
        return self.json.one(event)

    def _lines(self, body: bytes) -> Sequence[Record | Problem]:
        lines = [line for line in body.split(b"\n") if line.strip()]
        self._check_count(len(lines))
        return self.json.lines(lines)

    def _cloudevent_or_not(self, event: Any, caller: str) -> Event | Problem:
        try:
            return self._cloudevent(event, caller)
        except Problem as e:
            return e

    def _cloudevent(self, event: Any, caller: str) -> Event:
        envelope, data = cloudevents.structured(event)
        kind = content_type(envelope.content_type.encode()) if envelope.content_type else JSON
        if isinstance(data, bytes):
            found = self._single(data, kind)
        elif kind == JSON or kind.endswith("+json"):
            found = self._record(data)
        else:
            raise Problem(422, "not_cloudevent", f"its data is JSON, and its datacontenttype {kind}")
        return _named(found, f"{caller}{SEPARATOR}{envelope.id}", envelope.headers)

    def _single(self, body: bytes, kind: str) -> Record:
        """The one record of a body."""
        if kind == JSON or kind.endswith("+json"):
            return self.json.text(body)
        if kind not in AVRO:
            raise _unread(kind)
        found = self._avro_body(body, "")
        if len(found.events) != 1:
            raise Problem(422, "not_event", f"the data holds {len(found.events)} events, and may hold one")
        [event] = found.events
        if isinstance(event, Problem):
            raise event
        return event.key, event.value

    def _avro_body(self, body: bytes, id: str) -> Found:
        if body[:1] == b"\0":
            key, value = self._wire(body)
            return Found([Event(key, value, id)], True)
        if not body.startswith(avro_file.MAGIC):
            raise Problem(
                422, "not_avro", "the body is neither an Avro object container file nor Confluent's wire format"
            )
        records: list[Record | Problem] = []
        try:
            for batch in avro_file.read(body, self._topics.pipeline.raw, self._cap, self._most):
                records += self._avro.rows(batch.rows, batch.rows.names)
                self._check_count(len(records))
        except ConfigError as e:
            raise Problem(422, "not_avro", str(e)) from None
        return Found(_numbered(records, id), False)

    def _wire(self, body: bytes) -> Record:
        """A record as a client of Kafka's would send it, of any schema of the topic's subject."""
        decoded = self._codec.decode([body])
        if decoded.codes[0] != Code.OK:
            raise Problem(422, "not_avro", decoded.reasons[0])
        name = self._topics.pipeline.key
        key = decoded.frame(names=[name])[name][0]
        if key is None:
            raise Problem(422, "misfit", f"field {name}, the pipeline's key, is null", field=name)
        return str(key).encode(), body

    def _check_count(self, count: int) -> None:
        if not count:
            raise Problem(422, "no_events", "the body holds no events")
        if count > self._most:
            raise Problem(413, "too_many_events", f"the body holds more than {self._most:,} events: send fewer at once")


def content_type(given: bytes) -> str:
    """The content type of a header, without its parameters.

    Raises:
        Problem: 415: its charset is not UTF-8.
    """
    kind, *parameters = given.decode("latin-1").split(";")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        charset = value.strip("\" '").lower()
        if name.lower() == "charset" and charset not in ("utf-8", "utf8", "us-ascii"):
            raise Problem(415, "charset", f"the charset {charset[:40]} is not read; use UTF-8")
    return kind.strip().lower()


def _unread(kind: str) -> Problem:
    told = f"content type {kind[:60]} is not read" if kind else "the request has no content type"
    return Problem(415, "content_type", f"{told}; use {', '.join(TAKEN)}", headers=((b"accept-post", _ACCEPT),))


_ACCEPT = ", ".join(TAKEN).encode()


def _id(given: bytes | None, caller: str) -> str:
    """The id that a request's ``Idempotency-Key`` gives; empty: it has none."""
    if given is None:
        return ""
    text = given.decode("latin-1").strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if not text or len(text) > LONGEST_ID or not (text.isascii() and text.isprintable()):
        raise Problem(400, "bad_id", f"Idempotency-Key: give 1 to {LONGEST_ID} printable ASCII characters")
    return f"{caller}{SEPARATOR}key {text}"


def _numbered(records: Sequence[Record | Problem], id: str) -> list[Event | Problem]:
    """Events of one request: the id of each is the request's with its index."""
    if not id:
        return [r if isinstance(r, Problem) else Event(*r) for r in records]
    return [r if isinstance(r, Problem) else Event(*r, f"{id}{SEPARATOR}{i}") for i, r in enumerate(records)]


def _named(record: Record, id: str, headers: Headers) -> Event:
    return Event(*record, id, headers)
