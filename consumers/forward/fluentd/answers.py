"""What a receiver says, from bytes as they come."""

from __future__ import annotations

from typing import Any

import msgpack

from headrace.errors import Unavailable

BUFFER = 64 << 10
"""Bytes of an answer that are waited for: an ack has 34."""


class Answers:
    """MessagePack objects out of a stream that may be cut anywhere."""

    def __init__(self) -> None:
        # Fluentd's random bytes may come as strings: they are kept, byte for byte.
        self._unpacker = msgpack.Unpacker(max_buffer_size=BUFFER, unicode_errors="surrogateescape")

    def feed(self, data: bytes) -> list[Any]:
        """Every object that is whole now.

        Raises:
            Unavailable: this is no MessagePack, or an object larger than any answer.
        """
        try:
            self._unpacker.feed(data)
            return list(self._unpacker)
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as e:
            raise Unavailable("it answered with what is no MessagePack: is this the port of a Fluentd?") from e


def chunk_of(answer: object) -> str:
    """The message that an ack means.

    Raises:
        Unavailable: this is no ack.
    """
    match answer:
        case {"ack": str(chunk)}:
            return chunk
        case {"ack": bytes(chunk)}:
            return chunk.decode(errors="surrogateescape")
        case ["HELO", *_]:
            raise Unavailable("it asks for a shared key: set fluentd.shared_key to that of its <security>")
        case ["PONG", False, reason, *_]:
            raise Unavailable(f"it refused us, saying {reason!r}: check fluentd.shared_key against its <security>")
    raise Unavailable(f"it answered with what is no ack: {str(answer)[:80]!r}")
