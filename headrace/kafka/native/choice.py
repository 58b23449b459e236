"""The native transport, where it can be had."""

from __future__ import annotations

from functools import cache

from headrace.kafka.native.batch_writer import NativeBatchWriter
from headrace.kafka.native.fetcher import NativeFetcher
from headrace.kafka.native.librdkafka import library
from headrace.kafka.transport import Transport


@cache
def native() -> Transport | str:
    """The transport, or why it cannot be had here."""
    found = library()
    if isinstance(found, str):
        return found
    return Transport(
        "native", lambda consumer, timed: NativeFetcher(found, consumer, timed), lambda: NativeBatchWriter(found)
    )
