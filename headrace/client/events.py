"""Pushing events from a service: validated against the pipeline's schema at the door, then on the raw topic."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import polars as pl

from headrace.client.event_key import key_reader
from headrace.codec.times import EPOCH
from headrace.codec.values import record_encoder
from headrace.errors import SchemaError
from headrace.kafka.log import FULL_S, Headers, OnDelivery, Sender
from headrace.kafka.reports import full
from headrace.topics.pipeline_topics import PipelineTopics

FLUSH_S = 60.0
ROOM_S = 0.05
MS = timedelta(milliseconds=1)


class EventProducer:
    """Sends raw events of one pipeline. Safe to share between threads.

    Args:
        topics: the pipeline's topics.
        name: how this producer shows in the broker's logs.
        wait: seconds that a send waits while the client's queue is full.

    Example::

        with hr.connect("flights") as client:
            client.events.send({"flight_id": "UA1545", "origin": "EWR", ...})
    """

    def __init__(self, topics: PipelineTopics, name: str = "headrace-producer", *, wait: float = FULL_S) -> None:
        self._topics = topics
        self._topic = topics.topic("raw")
        self._sender: Sender = topics.log.sender(name)
        self._wait = wait

    def send(
        self,
        event: Mapping[str, Any],
        *,
        on_delivery: OnDelivery | None = None,
        headers: Headers | None = None,
        timestamp: datetime | int | None = None,
    ) -> None:
        """Send one event.

        Args:
            event: a value for each field of the schema: str, int, float, bool, None, bytes, Decimal, date, time, UUID,
                a datetime with a zone or ISO 8601 text, list, dict, or a NumPy scalar. A field that is left out
                takes its default.
            on_delivery: called once as ``on_delivery(err, msg)``, as confluent-kafka does it, from a thread of the
                producer's: ``err`` is None where Kafka has the event, and ``msg`` tells partition, offset and
                timestamp. Without it, an event that could not be delivered is told by :meth:`flush`.
            headers: names and values of the record, as a dict or as pairs.
            timestamp: time of the record: a datetime with a zone (cut to milliseconds), or milliseconds since 1970;
                none: now.

        Raises:
            SchemaError: the event does not fit the schema exactly; the message names the field. Nothing was sent.
            Unavailable: the client's queue was full for ``wait`` seconds, or the schema registry is away. Nothing was
                sent.
            HeadraceError: the event is too large, or the producer is closed. Nothing was sent.
        """
        key, value = self._encode(event)
        at = 0 if timestamp is None else milliseconds(timestamp)
        if self._sender.offer(self._topic, key, value, headers=headers, timestamp=at, on_delivery=on_delivery):
            return
        deadline = time.monotonic() + self._wait
        while time.monotonic() < deadline:
            self._sender.wait_for_room(min(ROOM_S, self._wait))
            if self._sender.offer(self._topic, key, value, headers=headers, timestamp=at, on_delivery=on_delivery):
                return
        raise full(self._topic, self._wait, "the event was not sent")

    def send_rows(self, rows: pl.DataFrame) -> None:
        """Send rows that have the schema's columns, in order (see :func:`headrace.codec.coerce.coerce`).

        Raises:
            SchemaError: a row's key is null; the message names the key field. Nothing was sent.
            Unavailable: the client's queue was full for ``wait`` seconds. The first rows were handed over, in order.
        """
        name = self._topics.pipeline.key
        if (nulls := rows[name].is_null()).any():
            raise SchemaError(f"row {nulls.arg_true()[0]} refused: field {name}, the pipeline's key, is null")
        keys = [str(k).encode() for k in rows[name]]
        self._sender.send(self._topic, keys, self._topics.codec("raw").encode(rows), wait=self._wait)

    def flush(self, timeout: float = FLUSH_S) -> None:
        """Wait until Kafka has everything that was sent, and every callback has been called.

        Args:
            timeout: seconds to wait.

        Raises:
            Unavailable: some was not delivered in time; the message says how much.
        """
        self._sender.flush(timeout)

    def close(self, timeout: float = FLUSH_S) -> None:
        """Flush, and send no more; again does nothing.

        Raises:
            Unavailable: some was not delivered in time. It is closed all the same.
        """
        self._sender.close(timeout)

    def __enter__(self) -> EventProducer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _encode(self, event: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Key and value of an event's record."""
        header, encode, key_of = self._program
        value = header + encode(event)
        return key_of(event, value), value

    @cached_property
    def _program(self) -> Any:
        codec, pipeline = self._topics.codec("raw"), self._topics.pipeline
        return codec.header(), record_encoder(pipeline.raw), key_reader(pipeline.raw, pipeline.key, codec)


def milliseconds(timestamp: datetime | int) -> int:
    """A record's timestamp as Kafka has it.

    Raises:
        SchemaError: it has no zone, or is none.
    """
    if isinstance(timestamp, datetime):
        if timestamp.utcoffset() is None:
            raise SchemaError(f"timestamp {timestamp} has no zone: give one, as datetime.now(UTC) has")
        found = (timestamp - EPOCH) // MS
    else:
        found = timestamp
    if isinstance(found, bool) or not isinstance(found, int) or found <= 0:
        raise SchemaError(f"timestamp {timestamp!r}: give a datetime after 1970, or milliseconds since then")
    return found
