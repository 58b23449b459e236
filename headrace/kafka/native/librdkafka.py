"""The librdkafka that confluent-kafka has loaded: where it is, and the few functions called on it directly."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from functools import cache
from pathlib import Path

import confluent_kafka
import llvmlite.binding
from confluent_kafka import Consumer, Producer

from headrace.errors import StackError

TESTED = ("2.16.1",)
"""Versions of confluent-kafka this was tested with. Where its objects keep their handle is no promise of theirs."""
HANDLE_AT = 2 * struct.calcsize("P")
"""Byte of a client object at which the pointer to its librdkafka handle is: the first field after the object's head."""
MESSAGE_DESTROY = "rd_kafka_message_destroy"
MESSAGE_TIMESTAMP = "rd_kafka_message_timestamp"
MESSAGE_HEADERS = "rd_kafka_message_headers"
HEADER_GET_LAST = "rd_kafka_header_get_last"

_pointer, _text, _number, _size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "rd_kafka_version_str": (_text, []),
    "rd_kafka_name": (_text, [_pointer]),
    "rd_kafka_last_error": (_number, []),
    "rd_kafka_queue_get_consumer": (_pointer, [_pointer]),
    "rd_kafka_queue_get_partition": (_pointer, [_pointer, _text, ctypes.c_int32]),
    "rd_kafka_queue_forward": (None, [_pointer, _pointer]),
    "rd_kafka_queue_io_event_enable": (None, [_pointer, _number, _pointer, _size]),
    "rd_kafka_queue_destroy": (None, [_pointer]),
    "rd_kafka_consume_batch_queue": (ctypes.c_ssize_t, [_pointer, _number, _pointer, _size]),
    MESSAGE_DESTROY: (None, [_pointer]),
    MESSAGE_TIMESTAMP: (ctypes.c_int64, [_pointer, _pointer]),
    MESSAGE_HEADERS: (_number, [_pointer, _pointer]),
    HEADER_GET_LAST: (_number, [_pointer, _text, _pointer, _pointer]),
    "rd_kafka_topic_new": (_pointer, [_pointer, _text, _pointer]),
    "rd_kafka_topic_destroy": (None, [_pointer]),
    "rd_kafka_produce_batch": (_number, [_pointer, ctypes.c_int32, _number, _pointer, _number]),
}
"""Every function called here, with its result and arguments (librdkafka's ``rdkafka.h``)."""


class LibRdKafka:
    """The functions of :data:`SIGNATURES`, callable."""

    def __init__(self, path: Path) -> None:
        # Only if it is loaded already: a second copy would know nothing of the clients' handles.
        loaded = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
        self.version = loaded.rd_kafka_version_str().decode()
        self.name = loaded.rd_kafka_name
        self.last_error = loaded.rd_kafka_last_error
        self.queue_get_consumer = loaded.rd_kafka_queue_get_consumer
        self.queue_get_partition = loaded.rd_kafka_queue_get_partition
        self.queue_forward = loaded.rd_kafka_queue_forward
        self.queue_io_event_enable = loaded.rd_kafka_queue_io_event_enable
        self.queue_destroy = loaded.rd_kafka_queue_destroy
        self.consume_batch_queue = loaded.rd_kafka_consume_batch_queue
        self.topic_new = loaded.rd_kafka_topic_new
        self.topic_destroy = loaded.rd_kafka_topic_destroy
        self.produce_batch = loaded.rd_kafka_produce_batch
        for name in (MESSAGE_DESTROY, MESSAGE_HEADERS, HEADER_GET_LAST, MESSAGE_TIMESTAMP):
            llvmlite.binding.add_symbol(name, ctypes.cast(loaded[name], ctypes.c_void_p).value)


def handle(client: Consumer | Producer) -> int:
    """The librdkafka handle of a client that is open."""
    if not isinstance(client, Consumer | Producer):
        raise TypeError(f"{type(client).__name__} is no Kafka client")
    found = ctypes.c_void_p.from_address(id(client) + HANDLE_AT).value
    if not found:
        raise StackError("a Kafka client was used after it was closed")
    return found


@cache
def library() -> LibRdKafka | str:
    """The library, or why it cannot be used here."""
    if sys.implementation.name != "cpython" or platform.system() != "Linux" or sys.maxsize < 2**32:
        return f"{sys.implementation.name} on {platform.system()}: it was tested with CPython on 64-bit Linux"
    version = str(confluent_kafka.__version__)
    if version not in TESTED:
        return f"confluent-kafka {version}: it was tested with {', '.join(TESTED)}"
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    files = sorted(folder.glob("librdkafka*.so*"))
    if len(files) != 1:
        return f"no librdkafka of a wheel in {folder}"
    try:
        found = LibRdKafka(files[0])
    except (OSError, AttributeError) as e:
        return f"{files[0].name} cannot be used: {e}"
    if found.version != confluent_kafka.libversion()[0]:
        return f"{files[0].name} is librdkafka {found.version}, the client runs {confluent_kafka.libversion()[0]}"
    return found if (why := _self_test(found)) is None else why


def _self_test(found: LibRdKafka) -> str | None:
    """Whether a client's handle is where it should be; why not, otherwise."""
    client = Producer({"client.id": "headrace-self-test", "bootstrap.servers": "localhost:1", "log_level": 0})
    try:
        name = found.name(handle(client)).decode()
    finally:
        client.close()
    return None if name.startswith("headrace-self-test#producer-") else f"a client's handle is not where it was: {name}"
