"""A way to the real search engine on which bulk requests meet what engines and networks do to them."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, Self, get_args
from urllib.parse import urlsplit

Fault = Literal["none", "429", "503", "413", "half", "lost", "unheard"]
"""``half``: the engine has room for the first half of the documents only. ``lost``: the connection ends before the
request arrives. ``unheard``: the engine takes it, and the connection ends before the answer arrives."""
FAULTS: tuple[Fault, ...] = get_args(Fault)


class SearchProxy:
    """Listens on a port of its own; each bulk request meets the next fault, those after the last meet none.

    Args:
        url: the engine.
        faults: what the bulk requests meet, in the order they come.
        most: bytes of a bulk request above which it is answered with 413.
    """

    def __init__(self, url: str, faults: Iterable[Fault] = (), most: int = 10**9) -> None:
        self._engine = urlsplit(url).netloc
        self._faults: Iterator[Fault] = iter(faults)
        self._most = most
        self._lock = threading.Lock()
        self.met: list[Fault] = []
        """The faults there have been."""
        proxy = self

        class Passage(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fault = proxy._next(body) if self.path.startswith("/_bulk") else "none"
                if fault in ("429", "503", "413"):
                    return self._answer(int(fault), {}, json.dumps({"error": f"planted {fault}"}).encode())
                if fault == "lost":
                    self.close_connection = True
                    return None
                lines = body.split(b"\n")
                kept = len(lines) // 4 * 2 if fault == "half" else len(lines)
                if fault == "half" and not kept:
                    return self._answer(429, {}, b"{}")
                status, headers, answer = proxy._ask(
                    self.command,
                    self.path,
                    dict(self.headers),
                    body if fault != "half" else b"\n".join(lines[:kept]) + b"\n",
                )
                if fault == "unheard":
                    self.close_connection = True
                    return None
                if fault == "half":
                    said = json.loads(answer)
                    left = [{"index": {"status": 429, "error": {"type": "rejected", "reason": "no room"}}}]
                    said["items"] += left * ((len(lines) - kept) // 2)
                    answer = json.dumps({**said, "errors": True}).encode()
                return self._answer(status, headers, answer)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_any  # noqa: N815

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name in ("content-type", "x-elastic-product"):
                    if name in headers:
                        self.send_header(name, headers[name])
                if not headers:
                    self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Passage)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _next(self, body: bytes) -> Fault:
        if len(body) > self._most:
            return "413"
        with self._lock:
            fault: Fault = next(self._faults, "none")
            if fault != "none":
                self.met.append(fault)
        return fault

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._engine, timeout=60)
        try:
            own = {n: v for n, v in headers.items() if n.lower() not in ("host", "content-length", "connection")}
            connection.request(method, path, body, own)
            answer = connection.getresponse()
            return answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()
