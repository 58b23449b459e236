"""A TCP proxy that can cut, slow down or stall what goes through it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from headrace.embedded.ports import HOST

PIECE = 65_536
LOOK_S = 0.05


class Proxy:
    """Listens on a port of its own and passes everything on to another one of this machine."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0), reuse_port=False)
        self.port: int = self._listener.getsockname()[1]
        self.target = 0
        self.delay_s = 0.0
        self.stalled = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._ended = False
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut(self) -> None:
        """Break every connection there is."""
        with self._lock:
            gone, self._open = self._open, set()
        for connection in gone:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Break everything and listen no more."""
        self._ended = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((HOST, self.target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(PIECE):
                while self.stalled and not self._ended:
                    time.sleep(LOOK_S)
                if self.delay_s:
                    time.sleep(self.delay_s)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open -= {source, sink}
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
