"""Reading the records of a topic that have a header, from given offsets to given ends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as KafkaPartition

from headrace.errors import Unavailable
from headrace.kafka.acl import READER_GROUP
from headrace.kafka.client import client
from headrace.kafka.client_errors import Door
from headrace.kafka.log import Headed, TopicPartition
from headrace.kafka.reader import CONSUMER

BATCH = 5_000
POLL_S = 0.1
STILL_S = 30.0
"""Seconds without any progress after which the broker is taken to be away."""


def read_headed(
    common: Mapping[str, Any], ranges: Mapping[TopicPartition, tuple[int, int]], header: str
) -> Iterator[Headed]:
    """The records with a header in ranges of offsets (start, stop), those of open transactions too.

    Raises:
        Unavailable: nothing came for ``STILL_S`` seconds.
    """
    if not ranges:
        return
    conf = {**CONSUMER, **common, "group.id": READER_GROUP, "isolation.level": "read_uncommitted"}
    # What retention takes between the look for the start and the reading is older than what is asked for.
    conf["auto.offset.reset"] = "earliest"
    consumer = client(Consumer, conf)
    try:
        consumer.assign([KafkaPartition(tp.topic, tp.partition, start) for tp, (start, _) in ranges.items()])
        left = {tp: stop for tp, (_, stop) in ranges.items()}
        door, moved = Door(), time.monotonic()
        while left:
            messages = consumer.consume(BATCH, POLL_S)
            if messages:
                moved = time.monotonic()
            elif time.monotonic() - moved > STILL_S:
                raise Unavailable(f"{next(iter(left))}: nothing came for {STILL_S:.0f} s")
            for message in messages:
                error = message.error()
                tp = TopicPartition(message.topic() or "", message.partition() or 0)
                at = message.offset() or 0
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    door.passing(error)
                    continue
                if tp in left and at < left[tp] and error is None:
                    found = dict(message.headers() or ()).get(header)
                    if found is not None:
                        octets = found.encode() if isinstance(found, str) else found
                        yield Headed(tp, at, message.timestamp()[1], message.value(), octets)
                if tp in left and at + (error is None) >= left[tp]:
                    del left[tp]
    finally:
        consumer.close()
