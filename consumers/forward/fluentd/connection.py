"""One connection to one receiver: opened, introduced, written to, listened to; every wait has an end."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack

from headrace.consumers.forward.fluentd.answers import Answers, chunk_of
from headrace.consumers.forward.fluentd.delivery import WINDOW
from headrace.consumers.forward.fluentd.handshake import Identity, check_pong, new_salt, ping, read_hello
from headrace.consumers.forward.fluentd.settings import Receiver
from headrace.errors import Unavailable

PIECE = 16 << 10
"""Bytes read at once."""
KEEPALIVE_IDLE_S = 60
"""An idle connection is asked after this long whether it lives: less than most firewalls remember it."""

CLOSED = "it closed the connection"
CLOSINGS = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Connection:
    """A receiver that has taken us. Whoever meets an Unavailable here closes it: what was sent may be half a message.

    ``limit`` is, everywhere, the time of ``time.monotonic`` past which nothing is waited for.
    """

    def __init__(self, receiver: Receiver, tls: ssl.SSLContext | None, identity: Identity | None, limit: float) -> None:
        """Raises:
        Unavailable: it is away, is not who it should be, or refuses us; the message says what to mend.
        """
        self.window = WINDOW
        """Messages it takes before the first is acked."""
        self.proved = False
        """Whether it has acked anything."""
        self._keepalive = True
        self._used = False
        self._answers = Answers()
        self._heard: list[Any] = []
        with _named_failures("it did not take the connection in time"):
            self._socket = socket.create_connection(receiver, timeout=_left(limit))
        try:
            self._prepare(receiver, tls, limit)
            if identity is not None:
                self._introduce(identity, limit)
        except BaseException:
            self.close()
            raise

    @property
    def spent(self) -> bool:
        """Whether it takes no further message: the receiver allows one for a connection."""
        return self._used and not self._keepalive

    def send(self, data: bytes, limit: float) -> None:
        """Write a message.

        Raises:
            Unavailable: the receiver is gone, or reads no more.
        """
        self._used = True
        with _named_failures("it stopped reading", self._closed):
            try:
                self._write(data, limit)
            except CLOSINGS:
                self.late_acks()  # who closes has often said why
                raise

    def acks(self, limit: float) -> list[str]:
        """Wait for acks; the chunks they name, one at least.

        Raises:
            Unavailable: none came in time, the receiver is gone, or says what is no ack.
        """
        while not self._heard:
            with _named_failures("it sent no ack in time", self._closed):
                self._read(limit)
        return self._take_acks()

    def late_acks(self) -> list[str]:
        """What was said since the last message was done with, without waiting.

        Raises:
            Unavailable: the receiver has gone meanwhile.
        """
        with _named_failures("", self._closed):
            self._socket.settimeout(0)
            try:
                self._hear(self._socket.recv(PIECE))
            except (BlockingIOError, ssl.SSLWantReadError):
                return []
        return self._take_acks()

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def _prepare(self, receiver: Receiver, tls: ssl.SSLContext | None, limit: float) -> None:
        doubt = "TLS's own handshake: does it speak TLS?"
        with _named_failures(f"it did not finish {doubt}", f"it closed the connection within {doubt}"):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
            if tls is not None:
                self._socket.settimeout(_left(limit))
                self._socket = tls.wrap_socket(self._socket, server_hostname=receiver.host)

    def _introduce(self, identity: Identity, limit: float) -> None:
        with _named_failures("it sent no HELO in time: has it a <security>? If not, unset fluentd.shared_key"):
            hello = read_hello(self._answer(limit))
        salt = new_salt()
        with _named_failures("it did not answer our PING in time"):
            self._write(msgpack.packb(ping(identity, hello, salt)), limit)
            check_pong(self._answer(limit), identity, hello, salt)
        self._keepalive = hello.keepalive
        self.window = WINDOW if hello.keepalive else 1

    def _write(self, data: bytes, limit: float) -> None:
        rest = memoryview(data)
        while rest:
            self._socket.settimeout(_left(limit))
            rest = rest[self._socket.send(rest) :]

    def _answer(self, limit: float) -> Any:
        while not self._heard:
            self._read(limit)
        return self._heard.pop(0)

    def _read(self, limit: float) -> None:
        self._socket.settimeout(_left(limit))
        self._hear(self._socket.recv(PIECE))

    def _hear(self, data: bytes) -> None:
        if not data:
            raise ConnectionResetError
        self._heard += self._answers.feed(data)

    def _take_acks(self) -> list[str]:
        heard, self._heard = self._heard, []
        return [chunk_of(answer) for answer in heard]

    @property
    def _closed(self) -> str:
        if self.proved:
            return CLOSED
        return f"{CLOSED} before it acked anything: do TLS, certificates and <security> agree on both sides?"


def _left(limit: float) -> float:
    left = limit - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@contextmanager
def _named_failures(late: str, closed: str = CLOSED) -> Iterator[None]:
    """Everything a socket can raise, as Unavailable, which says ``late`` where time ran out."""
    try:
        yield
    except TimeoutError as e:
        raise Unavailable(late) from e
    except ssl.SSLCertVerificationError as e:
        why = e.verify_message.rstrip(".")
        raise Unavailable(f"its certificate is not to be trusted ({why}): check fluentd.ca and the host's name") from e
    except CLOSINGS as e:
        raise Unavailable(closed) from e
    except ssl.SSLError as e:
        said = (e.reason or str(e)).lower().replace("_", " ")
        mend = ": set fluentd.certificate and fluentd.key to what it trusts" if "certificate" in said else ""
        raise Unavailable(f"TLS failed ({said}){mend}") from e
    except OSError as e:
        raise Unavailable((e.strerror or str(e)).lower()) from e
