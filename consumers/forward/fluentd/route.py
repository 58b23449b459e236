"""The route to a search engine by way of Fluentd: the first receiver that acks has the documents."""

from __future__ import annotations

import time

from headrace.config import Fluentd
from headrace.consumers.forward.fluentd.connection import Connection
from headrace.consumers.forward.fluentd.delivery import Delivery
from headrace.consumers.forward.fluentd.handshake import Identity
from headrace.consumers.forward.fluentd.messages import messages
from headrace.consumers.forward.fluentd.preference import Preference
from headrace.consumers.forward.fluentd.settings import check, receivers, tls_context
from headrace.consumers.forward.route import Documents, Refused
from headrace.errors import Unavailable

CONNECT_S = 10.0
PROBE_S = 2.0
"""What a receiver that failed gets to prove itself in, while another one works: the stream stands still meanwhile."""


class FluentdRoute:
    """A :class:`headrace.consumers.forward.route.Route` to the receivers of the settings.

    Attributes:
        unknown_acks: acks that named no message in flight: doubles, late ones, strangers' ones. None counted as an ack.
    """

    def __init__(self, settings: Fluentd) -> None:
        """Raises:
        ConfigError: the settings are not such that anything could be sent; the message names the one to mend.
        """
        check(settings)
        self.unknown_acks = 0
        self._receivers = receivers(settings)
        self._tls = tls_context(settings)
        self._identity = Identity.of(settings)
        self._compress = settings.compress
        self._ack_timeout = settings.ack_timeout
        self._preference = Preference(len(self._receivers))
        self._open: dict[int, Connection] = {}

    def send(self, documents: Documents) -> list[Refused]:
        """Hand over documents; returns once every message was acked, by one receiver or another.

        Takes at most ``ack_timeout`` seconds for each receiver there is. What one has not acked goes to the next.

        Returns:
            Those that no receiver could take, in order.

        Raises:
            Unavailable: no receiver acked all in time; the message says of each why. Any may have arrived.
        """
        refused: list[Refused] = []
        delivery = Delivery(messages(documents, self._compress, refused))
        end = time.monotonic() + self._ack_timeout * len(self._receivers)
        failures: list[str] = []
        for place in self._preference.order():
            try:
                self._deliver(place, delivery, end)
            except Unavailable as e:
                self._drop(place)
                self._preference.failed(place)
                failures.append(f"{self._receivers[place]}: {e}")
            except BaseException:
                self.close()  # whatever half a message is on its way, nothing may follow it
                raise
            else:
                for other in self._open.keys() - {place}:
                    self._drop(other)
                return refused
        raise Unavailable(f"no Fluentd receiver took the documents: {'; '.join(failures)}")

    def close(self) -> None:
        """Let go of connections."""
        for place in list(self._open):
            self._drop(place)

    def _deliver(self, place: int, delivery: Delivery, end: float) -> None:
        """Send what has no ack yet to one receiver, and wait for its acks."""
        delivery.start_over()
        connection: Connection | None = None
        heard = time.monotonic()
        while True:
            while message := delivery.next(connection.window if connection else 1):
                if connection is None or connection.spent:
                    connection = self._connection(place, end)
                connection.send(message.data, self._limit(connection, time.monotonic(), end))
                heard = time.monotonic()
            if connection is None or not delivery.in_flight:
                return
            for chunk in connection.acks(self._limit(connection, heard, end)):
                if delivery.acked(chunk):
                    heard = time.monotonic()
                    connection.proved = True
                    self._preference.worked(place)
                else:
                    self.unknown_acks += 1

    def _limit(self, connection: Connection, heard: float, end: float) -> float:
        """When silence has lasted too long."""
        patience = self._ack_timeout
        if not connection.proved and len(self._open) > 1:
            patience = min(patience, PROBE_S)
        return min(end, heard + patience)

    def _connection(self, place: int, end: float) -> Connection:
        """The one that is open, where it still is and may be used, or a new one."""
        if place in self._open and not self._open[place].spent:
            try:
                self.unknown_acks += len(self._open[place].late_acks())
                return self._open[place]
            except Unavailable:
                pass  # it went while nothing was under way: that is no failure
        self._drop(place)
        patience = min(self._ack_timeout, PROBE_S if self._open else CONNECT_S)
        limit = min(end, time.monotonic() + patience)
        self._open[place] = Connection(self._receivers[place], self._tls, self._identity, limit)
        return self._open[place]

    def _drop(self, place: int) -> None:
        connection = self._open.pop(place, None)
        if connection is not None:
            connection.close()
