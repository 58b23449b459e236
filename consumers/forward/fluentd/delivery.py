"""Messages on their way: which are to be sent, and which were sent and have no ack yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from headrace.consumers.forward.fluentd.messages import Message

WINDOW = 8
"""Messages that may wait for their acks at once."""
WINDOW_BYTES = 16 << 20
"""Bytes past which no further message joins those that wait."""


class Delivery:
    """One send: a message is done with when its ack has come, and not before."""

    def __init__(self, messages: Iterator[Message]) -> None:
        self._new = messages
        self._again: deque[Message] = deque()
        self._in_flight: dict[str, Message] = {}
        self._bytes = 0

    @property
    def in_flight(self) -> int:
        """Messages sent that have no ack."""
        return len(self._in_flight)

    def start_over(self) -> None:
        """What has no ack is sent again, in the same order: the connection it went over is gone."""
        self._again.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()
        self._bytes = 0

    def next(self, window: int = WINDOW) -> Message | None:
        """The message to send now, which then is in flight; None where all are, or enough for now."""
        if len(self._in_flight) >= window or self._bytes >= WINDOW_BYTES:
            return None
        message = self._again.popleft() if self._again else next(self._new, None)
        if message is not None and message.chunk not in self._in_flight:
            self._in_flight[message.chunk] = message
            self._bytes += len(message.data)
        return message

    def acked(self, chunk: str) -> bool:
        """Take in an ack; False where no message in flight is meant."""
        message = self._in_flight.pop(chunk, None)
        if message is None:
            return False
        self._bytes -= len(message.data)
        return True
