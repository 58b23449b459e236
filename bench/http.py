"""Events over HTTP: the server, an application on the same server that only answers, and who asks them.

``python -m bench.http serve BOOTSTRAP REGISTRY PORT`` and ``python -m bench.http answer PORT`` serve until they are
told to end. ``python -m bench.http load PORT single|batch CONNECTIONS SECONDS`` asks over connections that are kept
open, each for one answer after the other, and prints ``{"records", "seconds", "p50_ms", "p99_ms"}``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any, cast

import polars as pl
import uvicorn
import uvloop

from bench.door import SCHEMA
from bench.pipeline import declared
from headrace.config import load_settings
from headrace.kafka.cluster import KafkaLog
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics

NAME = "bench-http"
BATCH = 500
WARM_S = 0.5
_ANSWER: dict[str, Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"29")],
}
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def event(n: int) -> dict[str, Any]:
    """A reading of a sensor: ten fields, 180 bytes of JSON or so."""
    micro = n % 1_000_000
    head = {"id": f"i{n:07d}", "sensor": f"sensor{n % 512:03d}", "at": f"2024-03-01T10:00:00.{micro:06d}Z"}
    body = {"x0": n * 0.001, "x1": n * 0.7, "x2": 1.0 / (n + 1), "count": n, "level": n % 100, "ok": n % 3 == 0}
    return {**head, **body, "failed": None if n % 2 else True}


async def answers(scope: MutableMapping[str, Any], receive: object, send: Send) -> None:
    """An application that only answers."""
    await send(_ANSWER)
    await send({"type": "http.response.body", "body": b'{"partition":0,"offset":1234}'})


def answering(port: int) -> None:
    """Serve the application that only answers."""
    uvicorn.run(answers, port=port, access_log=False, log_config=None, server_header=False, lifespan="off", ws="none")


def taking(bootstrap: str, registry: str, port: int) -> None:
    """Serve what takes events."""
    from headrace.producers.http.limits import Limits
    from headrace.producers.http.server import Access, serve

    settings = load_settings(bootstrap=bootstrap, registry_url=registry)
    pipeline = replace(declared(NAME), raw=SCHEMA, features=_features)
    topics = PipelineTopics(pipeline, KafkaLog(settings, NAME), ConfluentRegistry(settings))
    topics.init()
    serve({pipeline.name: topics}, {}, Limits(), Access(), "127.0.0.1", port)


def _features(events: pl.DataFrame) -> pl.DataFrame:
    """What a pipeline must have; nobody runs it here."""
    return events.select("offset", x=pl.lit(1.0))


def requests(kind: str) -> list[bytes]:
    """Requests of one event each, or of a batch."""
    bodies = [json.dumps(event(n)).encode() for n in range(1000)]
    if kind == "batch":
        bodies = [json.dumps([event(n + k) for k in range(BATCH)]).encode() for n in range(0, 10 * BATCH, BATCH)]
    head = f"POST /v1/pipelines/{NAME}/events HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


class _Asking(asyncio.Protocol):
    """One connection: asks, and asks again when the answer is whole."""

    def __init__(self, asked: list[bytes], taken: list[float], ended: asyncio.Event) -> None:
        self._asked = asked
        self._taken = taken
        self._ended = ended
        self._n = 0
        self._at = 0.0
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._got = got = self._got + data if self._got else data
        head = got.find(b"\r\n\r\n")
        if head < 0:
            return
        at = got.find(b"content-length: ") + 16
        if len(got) < head + 4 + int(got[at : got.find(b"\r", at)]):
            return
        if not got.startswith(b"HTTP/1.1 200"):
            raise SystemExit(got.decode())
        self._taken.append(time.perf_counter() - self._at)
        self._got = b""
        if not self._ended.is_set():
            self._ask()

    def _ask(self) -> None:
        self._n += 1
        self._at = time.perf_counter()
        self._transport.write(self._asked[self._n % len(self._asked)])


async def load(port: int, kind: str, connections: int, seconds: float) -> dict[str, float]:
    """Ask for so long; what is asked in the first moment does not count."""
    loop, asked, taken, ended = asyncio.get_running_loop(), requests(kind), list[float](), asyncio.Event()
    for n in range(connections):
        mine = asked[n % len(asked) :] + asked[: n % len(asked)]
        await loop.create_connection(lambda mine=mine: _Asking(mine, taken, ended), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.sleep(WARM_S)
    taken.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    spent, times = time.perf_counter() - began, sorted(taken)
    ended.set()
    await asyncio.sleep(0.3)
    each = BATCH if kind == "batch" else 1
    return {
        "records": len(times) * each,
        "seconds": spent,
        "p50_ms": times[len(times) // 2] * 1e3,
        "p99_ms": times[len(times) * 99 // 100] * 1e3,
    }


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", bootstrap, registry, port]:
            taking(bootstrap, registry, int(port))
        case ["answer", port]:
            answering(int(port))
        case ["load", port, kind, connections, seconds]:
            print(json.dumps(uvloop.run(load(int(port), kind, int(connections), float(seconds)))))
