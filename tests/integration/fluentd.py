"""What the tests of the route to Fluentd share: documents, routes, and a receiver that says what it is told to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import orjson
import pytest

from headrace.config import Fluentd
from headrace.consumers.forward.fluentd.messages import messages
from headrace.consumers.forward.fluentd.route import FluentdRoute
from headrace.consumers.forward.route import Documents, Route
from headrace.errors import Unavailable
from tests.fluent_receiver import FluentReceiver

TARGET = "flights-predictions.1"
SHORT_S = 0.3
"""Ack timeout where a receiver is expected to let it pass."""
LONG_S = 20.0
"""Ack timeout where none is."""
HYGIENE = [
    pytest.mark.search,
    pytest.mark.usefixtures("swept"),
    pytest.mark.filterwarnings(
        "error::ResourceWarning",
        "error::pytest.PytestUnraisableExceptionWarning",
        "error::pytest.PytestUnhandledThreadExceptionWarning",
    ),
]
"""Marks of the tests of forwarding by Fluentd: a socket left open, or a receiver that broke, fails the test."""


def documents(first: int, count: int, filling: int = 0) -> Documents:
    ids = [f"flights.predictions-0-{i}" for i in range(first, first + count)]
    times = np.arange(first, first + count, dtype=np.int64) + 1_357_016_400_000_000
    bodies = [orjson.dumps({"@id": i, "price": 0.1, "x": "x" * filling}) for i in ids]
    return Documents("predictions", "headrace.flights.predictions", ids, [TARGET] * count, times, bodies)


def in_messages(count: int, filling: int = 600_000) -> Documents:
    """Documents that make so many messages."""
    made = documents(0, count, filling)
    assert len(list(messages(made, False, []))) == count
    return made


def settings(*receivers: FluentReceiver, ack_timeout: float = LONG_S, **more: Any) -> Fluentd:
    given = {"receivers": [r.address for r in receivers], "ack_timeout": ack_timeout}
    return Fluentd.model_validate({**given, **more})


@contextmanager
def route_to(*receivers: FluentReceiver, ack_timeout: float = LONG_S, **more: Any) -> Iterator[FluentdRoute]:
    route = FluentdRoute(settings(*receivers, ack_timeout=ack_timeout, **more))
    try:
        yield route
    finally:
        route.close()


def refusal(route: Route, sent: Documents | None = None) -> str:
    with pytest.raises(Unavailable) as raised:
        route.send(sent or documents(0, 3))
    return str(raised.value)


class Scripted(FluentReceiver):
    """Says ``first``, then each answer once it has heard something, whatever that was; then it listens only."""

    def __init__(self, *answers: bytes, first: bytes = b"") -> None:
        super().__init__()
        self._answers, self._first = answers, first

    def talk(self, connection: socket.socket) -> None:
        connection.sendall(self._first)
        for answer in self._answers:
            if not connection.recv(1 << 20):
                return
            connection.sendall(answer)
        while connection.recv(1 << 20):
            pass
