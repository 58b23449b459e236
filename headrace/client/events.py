"""Pushing events from a service: validated against the pipeline's schema at the door, then on the raw topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from headrace.codec.coerce import coerce
from headrace.errors import SchemaError
from headrace.kafka.log import Sender
from headrace.topics.pipeline_topics import PipelineTopics

FLUSH_S = 60.0


class EventProducer:
    """Sends raw events of one pipeline. Safe to share between threads.

    Args:
        topics: the pipeline's topics.
        name: how this producer shows in the broker's logs.

    Example::

        with hr.connect("flights") as client:
            client.events.send({"flight_id": "UA1545", "origin": "EWR", ...})
    """

    def __init__(self, topics: PipelineTopics, name: str = "headrace-producer") -> None:
        self._topics = topics
        self._sender: Sender = topics.log.sender(name)

    def send(self, event: Mapping[str, Any]) -> None:
        """Send one event.

        Raises:
            SchemaError: the event does not fit the schema; the message names the field. Nothing was sent.
        """
        frame = pl.DataFrame({k: pl.Series([v], strict=False) for k, v in event.items()})
        fitting, bad = coerce(frame, self._topics.pipeline.raw)
        if bad:
            raise SchemaError(f"event refused: {bad[0][1]}")
        self.send_rows(fitting)

    def send_rows(self, rows: pl.DataFrame) -> None:
        """Send rows that have the schema's columns, in order (see :func:`headrace.codec.coerce.coerce`)."""
        key = self._topics.pipeline.key
        keys = [str(k).encode() for k in rows[key]]
        self._sender.send(self._topics.topic("raw"), keys, self._topics.codec("raw").encode(rows))

    def flush(self, timeout: float = FLUSH_S) -> None:
        """Wait until Kafka has everything that was sent.

        Args:
            timeout: seconds to wait.

        Raises:
            Unavailable: some was not delivered in time; the message says how much.
        """
        self._sender.flush(timeout)

    def close(self) -> None:
        """Flush; again does nothing."""
        self.flush()

    def __enter__(self) -> EventProducer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
