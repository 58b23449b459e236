"""Sending to a real Kafka from an event loop: no thread of its own, and its user takes the client's reports."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from confluent_kafka import KafkaException, Producer

from headrace.errors import HeadraceError
from headrace.kafka import writer
from headrace.kafka.client import client
from headrace.kafka.log import Headers, OnDelivery
from headrace.kafka.sender import why

LINGER_MS = 2
_PATIENCE = ("message.timeout.ms", "delivery.timeout.ms")


class KafkaPolledSender:
    """An idempotent producer for one thread, which calls :meth:`poll` while records wait.

    A record that was taken is never given up because Kafka is away: whether it was written would not be known then.
    """

    def __init__(self, conf: Mapping[str, Any]) -> None:
        settings = {
            "queue.buffering.max.messages": writer.QUEUE,
            "linger.ms": LINGER_MS,
            **{k: v for k, v in conf.items() if k not in _PATIENCE},
            "message.timeout.ms": 0,
            "delivery.report.only.error": False,
        }
        self._producer = client(Producer, {**writer.PRODUCER, **settings})
        self.poll = partial(self._producer.poll, 0)

    def offer(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, on_delivery: OnDelivery
    ) -> bool:
        try:
            if headers:
                self._producer.produce(topic, value, key, -1, on_delivery, None, 0, headers)  # type: ignore[arg-type]
            else:
                self._producer.produce(topic, value, key, -1, on_delivery)
        except BufferError:
            return False
        except KafkaException as e:
            raise HeadraceError(f"a record for {topic} cannot be sent: {why(e.args[0])}") from e
        return True

    def close(self, timeout: float) -> int:
        left: int = self._producer.flush(timeout)
        return left
