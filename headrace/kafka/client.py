"""Making a client of librdkafka, of any kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaException

from headrace.errors import ConfigError

C = TypeVar("C")
log = logging.getLogger("headrace.kafka")


def client(kind: Callable[..., C], properties: Mapping[str, Any]) -> C:
    """A client of this kind, with librdkafka's properties.

    Raises:
        ConfigError: one of them is refused, or two do not go together.
    """
    try:
        return kind(dict(properties), logger=log)
    except KafkaException as e:
        why = e.args[0].str()
    except TypeError as e:
        why = str(e)
    raise ConfigError(f"Kafka property refused: {why} (from HEADRACE_KAFKA or the command)")
