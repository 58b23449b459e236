"""What a sender tells those who sent: deliveries, a queue that stays full, and that it is closed."""

from __future__ import annotations

import logging
import threading
from collections import deque

from confluent_kafka import KafkaError, Message

from headrace.errors import HeadraceError, Unavailable
from headrace.kafka.log import OnDelivery

log = logging.getLogger("headrace.kafka")


class Reports:
    """Deliveries that those who asked are still to be told of, in order."""

    def __init__(self) -> None:
        self._due: deque[tuple[OnDelivery, KafkaError | None, Message]] = deque()
        self._telling = threading.RLock()

    def __len__(self) -> int:
        return len(self._due)

    def add(self, on_delivery: OnDelivery, error: KafkaError | None, message: Message) -> None:
        """Note one to be told."""
        self._due.append((on_delivery, error, message))

    def tell(self) -> None:
        """Tell all that are due; when it returns, those noted before have been told, by whichever thread."""
        with self._telling:  # also where none is due: another thread may be at the last of them
            while self._due:
                on_delivery, error, message = self._due.popleft()
                try:
                    on_delivery(error, message)
                except Exception:
                    log.exception("a callback on the delivery of a record for %s failed", message.topic())


def closed() -> HeadraceError:
    """A closed sender was asked to send."""
    return HeadraceError("this producer is closed, and nothing was sent: make a new one (hr.connect)")


def full(topic: str, seconds: float, sent: str) -> Unavailable:
    """The client's queue stayed full; ``sent`` says what became of what was to be sent."""
    return Unavailable(
        f"the client's queue was full for {seconds:g} s, as Kafka takes nothing for {topic}; {sent}: "
        "see that Kafka is up, send more slowly, or raise queue.buffering.max.messages"
    )
