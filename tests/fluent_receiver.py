"""A receiver of the Fluentd Forward Protocol Specification v1 that keeps what it is sent, and misbehaves on a schedule.

As a process of its own: ``python -m tests.fluent_receiver --port P --store FILE.jsonl``.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import json
import os
import random
import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import msgpack

from headrace.embedded.ports import HOST

Conduct = Literal[
    "ack",
    "crash before",  # reads a chunk, keeps nothing, resets the connection
    "crash after",  # keeps the chunk and resets the connection without an ack
    "crash in ack",  # keeps the chunk and resets the connection within the ack
    "stall",  # reads nothing more and says nothing, until the sender is tired of it
    "no ack",  # keeps the chunk and never says so
    "twice",  # acks twice
    "later",  # acks after the next chunk's ack, or when nothing follows
    "garbage",  # answers with what is no MessagePack
    "split",  # sends the ack byte by byte
    "stranger",  # acks a chunk nobody sent, then this one
]
FAULTS: tuple[Conduct, ...] = tuple(c for c in get_args(Conduct) if c != "ack")
PATIENCE_S = 0.05
"""How long a held-back ack waits for another chunk."""
RESET = struct.pack("ii", 1, 0)


class Entry(NamedTuple):
    """An event as it arrived."""

    tag: str
    nanos: int
    record: dict[str, Any]


@dataclass(frozen=True)
class Security:
    """Fluentd's ``<security>``; without users it asks for none."""

    shared_key: str
    users: dict[str, str] = field(default_factory=dict)
    keepalive: bool = True
    name: str = "receiver.test"


def seeded(chance: random.Random, faults: int, share: float) -> Iterator[Conduct]:
    """A schedule: so many faults, every kind as likely, each chunk with the chance ``share`` of one."""
    while faults:
        if chance.random() < share:
            faults -= 1
            yield chance.choice(FAULTS)
        else:
            yield "ack"


class FluentReceiver:
    """Listens on one port of 127.0.0.1, always the same, from ``start`` to ``kill``.

    Args:
        schedule: what is done with each chunk that arrives; once it is over, all is well.
        store: file that gets a line for each entry kept, before its ack: its ``@id`` and target.
    """

    def __init__(
        self,
        schedule: Iterable[Conduct] = (),
        tls: ssl.SSLContext | None = None,
        security: Security | None = None,
        store: Path | None = None,
        port: int = 0,
    ) -> None:
        self.kept: list[Entry] = []
        self.chunks = 0
        self.connections = 0
        self.faults: list[Conduct] = []
        """Of the schedule, those that came to pass."""
        self.port = port
        self._schedule = iter(schedule)
        self._tls, self._security, self._store = tls, security, store
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def connected(self) -> int:
        """Connections that are open."""
        with self._lock:
            return len(self._open)

    @property
    def ids(self) -> set[str]:
        """The ``@id`` of every entry kept."""
        with self._lock:
            return {entry.record["@id"] for entry in self.kept}

    def start(self) -> None:
        self._listener = socket.create_server((HOST, self.port))
        self.port = self._listener.getsockname()[1]
        self._run(self._accept, self._listener)

    def kill(self) -> None:
        """Stop listening and reset every connection."""
        assert self._listener is not None
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()  # from here on nobody is let in
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def __enter__(self) -> FluentReceiver:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _run(self, what: Any, *args: Any) -> None:
        thread = threading.Thread(target=what, args=args, name="receiver", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            self._run(self._serve, connection)

    def talk(self, connection: socket.socket) -> None:
        """What is done with a connection, TLS apart; it may end with OSError."""
        Session(self, connection, self._security).run()

    def _serve(self, raw: socket.socket) -> None:
        connection = raw
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._tls.wrap_socket(raw, server_side=True)
                with self._lock:
                    self._open.add(connection)
            self.talk(connection)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open -= {raw, connection}
            connection.close()

    def conduct(self) -> Conduct:
        """What is done with the next chunk."""
        with self._lock:
            self.chunks += 1
            chosen: Conduct = next(self._schedule, "ack")
            if chosen != "ack":
                self.faults.append(chosen)
        return chosen

    def keep(self, entries: list[Entry]) -> None:
        with self._lock:
            self.kept += entries
            if self._store is not None:
                with self._store.open("a") as file:
                    file.writelines(
                        json.dumps({"@id": e.record["@id"], "@index": e.record["@index"]}) + "\n" for e in entries
                    )


class Session:
    """One connection: its handshake, and then its chunks one by one."""

    def __init__(self, receiver: FluentReceiver, connection: socket.socket, security: Security | None) -> None:
        self._receiver, self._connection, self._security = receiver, connection, security
        self._unpacker = msgpack.Unpacker(max_buffer_size=1 << 30)
        self._held: list[str] = []

    def run(self) -> None:
        if self._security is not None and not self._welcome(self._security):
            return
        while (message := self._next()) is not None:
            if not isinstance(message, list) or not self._take(message):
                return
            if self._security is not None and not self._security.keepalive:
                return

    def _take(self, message: list[Any]) -> bool:
        """Do with a message as the schedule says; False where the connection is over."""
        tag, packed, option = message
        chunk, conduct = option["chunk"], self._receiver.conduct()
        if conduct == "stall":
            self._await_close()
            return False
        if conduct != "crash before":
            self._receiver.keep(entries_of(tag, packed, option))
        match conduct:
            case "crash before" | "crash after":
                self._reset()
                return False
            case "crash in ack":
                self._connection.sendall(msgpack.packb({"ack": chunk})[:9])
                self._reset()
                return False
            case "no ack":
                return True
            case "later":
                self._held.append(chunk)
                return True
            case "garbage":
                self._connection.sendall(b"\xc1HTTP/1.1 400 Bad Request\r\n\r\n")
                return True
            case "split":
                for byte in msgpack.packb({"ack": chunk}):
                    self._connection.sendall(bytes([byte]))
            case "stranger":
                self._ack("bm9ib2R5IHNlbnQgdGhpcw==")
                self._ack(chunk)
            case "twice":
                self._ack(chunk)
                self._ack(chunk)
            case _:
                self._ack(chunk)
        self._ack_held()
        return True

    def _next(self) -> Any:
        """The next object of the stream; None where it ends. Acks held back go out when nothing follows."""
        while True:
            for message in self._unpacker:
                return message
            self._connection.settimeout(PATIENCE_S if self._held else None)
            try:
                data = self._connection.recv(1 << 20)
            except TimeoutError:
                self._connection.settimeout(None)
                self._ack_held()
                continue
            self._connection.settimeout(None)
            if not data:
                return None
            self._unpacker.feed(data)

    def _ack(self, chunk: str) -> None:
        self._connection.sendall(msgpack.packb({"ack": chunk}))

    def _ack_held(self) -> None:
        while self._held:
            self._ack(self._held.pop())

    def _reset(self) -> None:
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _await_close(self) -> None:
        """Wait for the sender to close, without reading what it sent."""
        waiting = select.poll()
        waiting.register(self._connection, select.POLLRDHUP)
        waiting.poll()

    def _welcome(self, security: Security) -> bool:
        """HELO, PING, PONG as the specification has them; whether the other is let in."""
        nonce, salt = os.urandom(16), os.urandom(16) if security.users else b""
        options = {"nonce": nonce, "auth": salt, "keepalive": security.keepalive}
        self._connection.sendall(msgpack.packb(["HELO", options]))
        answer = self._next()
        if not isinstance(answer, list) or len(answer) != 6 or answer[0] != "PING":
            return self._refuse("invalid ping message")
        _, host, their_salt, proof, user, password = answer
        key = security.shared_key
        if proof != sha512(their_salt, host, nonce, key):
            return self._refuse("shared_key mismatch")
        if security.users and (user not in security.users or password != sha512(salt, user, security.users[user])):
            return self._refuse("username/password mismatch")
        ours = sha512(their_salt, security.name, nonce, key)
        self._connection.sendall(msgpack.packb(["PONG", True, "", security.name, ours]))
        return True

    def _refuse(self, reason: str) -> bool:
        self._connection.sendall(msgpack.packb(["PONG", False, reason, "", ""]))
        return False


def sha512(*parts: str | bytes) -> str:
    return hashlib.sha512(b"".join(p.encode() if isinstance(p, str) else p for p in parts)).hexdigest()


def entries_of(tag: str, packed: bytes, option: dict[str, Any]) -> list[Entry]:
    """The entries of a message in one of the PackedForward modes, as many as it says it holds."""
    if option.get("compressed") == "gzip":
        packed = gzip.decompress(packed)
    unpacker = msgpack.Unpacker(max_buffer_size=1 << 30)
    unpacker.feed(packed)
    entries = []
    for time, record in unpacker:
        assert time.code == 0
        seconds, nanos = struct.unpack(">II", time.data)
        entries.append(Entry(tag, seconds * 10**9 + nanos, record))
    assert len(entries) == option["size"]
    return entries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", type=Path, required=True)
    given = parser.parse_args()
    with FluentReceiver(store=given.store, port=given.port) as receiver:
        print(receiver.port, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
