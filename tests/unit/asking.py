"""Requests to the application of the HTTP door, in this process, on a log in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from headrace.kafka.log import read_all
from headrace.producers.http.app import App, Served
from headrace.producers.http.auth import Auth
from headrace.producers.http.door import Door
from headrace.producers.http.limits import Limits
from headrace.producers.http.webhook import FieldMapping, Webhook
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import toy
from headrace.topics.pipeline_topics import PipelineTopics

EVENTS = "/v1/pipelines/shop/events"
JSON = "application/json"
T = TypeVar("T")


class Answer(NamedTuple):
    """What was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def click(name: str = "c0", user: object = "ann", **more: object) -> dict[str, object]:
    """A click of the toy pipeline, in JSON."""
    at = "2024-01-01T00:00:00Z"
    return {"kind": "seen", "click_id": name, "user": user, "at": at, "price": 1.5, "bought": None, **more}


class Asking:
    """An application and who asks it."""

    def __init__(
        self,
        topics: PipelineTopics | None = None,
        limits: Limits | None = None,
        auth: Auth | None = None,
        webhooks: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.topics = topics or in_memory(toy("shop"))
        self.door = Door(self.topics, limits or Limits())
        hooks = {n: Webhook(self.topics, FieldMapping.model_validate(m)) for n, m in (webhooks or {}).items()}
        served = Served(self.door, hooks)
        self._loop = asyncio.new_event_loop()
        self.app = App({self.topics.pipeline.name: served}, limits or Limits(), auth or Auth(None, None))

    def again(self) -> Asking:
        """The same after a restart: nothing is left but the log."""
        return Asking(self.topics)

    def run(self, asked: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the application's own loop."""
        return self._loop.run_until_complete(asked)

    def post(self, body: Any, kind: str = JSON, path: str = EVENTS, query: str = "", **headers: str) -> Answer:
        """One request. A body that is neither bytes nor text is sent as JSON."""
        return self.run(self.ask("POST", path, query, body, {"content-type": kind, **headers}))

    def get(self, path: str, method: str = "GET") -> Answer:
        """One request without a body."""
        return self.run(self.ask(method, path, "", b"", {}))

    async def ask(self, method: str, path: str, query: str, body: Any, headers: Mapping[str, str]) -> Answer:
        """One request."""
        text = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        parts = [{"type": "http.request", "body": text, "more_body": False}]
        sent: list[Any] = []

        async def receive() -> Any:
            return parts.pop(0) if parts else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        named = {name.replace("_", "-"): value for name, value in headers.items() if value}
        pairs = [(name.encode(), value.encode()) for name, value in named.items()]
        pairs.append((b"content-length", str(len(text)).encode()))
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": pairs}
        await self.app(scope, receive, send)
        start, end = sent
        return Answer(start["status"], {n.decode(): v.decode() for n, v in start["headers"]}, end["body"])

    def names(self) -> list[str]:
        """The click_id of every record on raw, sorted."""
        return sorted(row["click_id"] for row in self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """Every record on raw."""
        codec = self.topics.codec("raw")
        chunks = read_all(self.topics.log, self.topics.topic("raw"))
        return [row for chunk in chunks for row in codec.decode(chunk.values).frame().to_dicts()]

    def places(self) -> dict[str, tuple[int, int]]:
        """click_id -> partition and offset of its record."""
        codec, found = self.topics.codec("raw"), dict[str, tuple[int, int]]()
        for chunk in read_all(self.topics.log, self.topics.topic("raw")):
            names: Sequence[str] = codec.decode(chunk.values).frame()["click_id"].to_list()
            found |= {name: (chunk.tp.partition, at) for name, at in zip(names, chunk.offsets.tolist(), strict=True)}
        return found
