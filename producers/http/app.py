"""The application: a request to a pipeline's door, and its answer. Plain ASGI: a framework costs more than all that."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from headrace.producers.http.auth import ANYBODY, Auth, Caller
from headrace.producers.http.bodies import Bodies
from headrace.producers.http.door import LATE, Door, Event, Taken, told_of
from headrace.producers.http.figures import Figures
from headrace.producers.http.limits import Limits, Rates
from headrace.producers.http.openapi import document
from headrace.producers.http.problem import TYPE, Problem
from headrace.producers.http.request import CLOSE, USUAL, Options, Receive, Scope, Send, body_of, options_of
from headrace.producers.http.webhook import Webhook

log = logging.getLogger("headrace.http")

JSON_TYPE = (b"content-type", b"application/json")
NOT_SENT = Problem(424, "not_sent", "another event of the request was refused, and partial=false was asked for")


@dataclass(frozen=True)
class Served:
    """What is served of one pipeline.

    Attributes:
        door: where its events go.
        webhooks: its webhooks by name; may be replaced while the server runs.
    """

    door: Door
    webhooks: dict[str, Webhook] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """An answer: status, body, headers."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = (JSON_TYPE,)


class _Post:
    """A route that takes events."""

    def __init__(self, pipeline: str, served: Served, limits: Limits, webhook: str = "") -> None:
        self.pipeline = pipeline
        self.door = served.door
        self.served = served
        self.webhook = webhook
        self.bodies = Bodies(served.door.topics, limits)


class App:
    """The application.

    Args:
        pipelines: pipeline name -> what is served of it.
        limits: of the server.
        auth: asks who sends.
    """

    def __init__(self, pipelines: Mapping[str, Served], limits: Limits, auth: Auth) -> None:
        self.figures = Figures({name: served.door for name, served in pipelines.items()})
        self._pipelines = pipelines
        self._limits = limits
        self._auth = auth
        self._rates = Rates(limits)
        self._registry = CollectorRegistry()
        self._registry.register(self.figures)
        self._posts: dict[str, _Post] = {}
        for name, served in pipelines.items():
            self._posts[f"/v1/pipelines/{name}/events"] = _Post(name, served, limits)
            for webhook in served.webhooks:
                self._posts[f"/v1/pipelines/{name}/webhooks/{webhook}"] = _Post(name, served, limits, webhook)
        topics = {name: served.door.topics for name, served in pipelines.items()}
        self._openapi = orjson.dumps(document(topics, limits, secured=not auth.open))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")
        post = self._posts.get(scope["path"])
        if post is None or scope["method"] != "POST":
            await _give(send, self._other(scope, post))
            return
        began = time.perf_counter()
        figures = self.figures
        figures.under_way += 1
        try:
            answer = await self._posted(post, scope, receive)
        except Problem as e:
            answer = problem(e)
        except Exception:
            log.exception("a request to %s failed", scope["path"])
            answer = problem(Problem(500, "bug", "this is a bug in headrace; the server's log tells where"))
        finally:
            figures.under_way -= 1
        figures.answered(post.pipeline, answer.status, time.perf_counter() - began)
        await _give(send, answer)

    async def _posted(self, post: _Post, scope: Scope, receive: Receive) -> Answer:
        limits = self._limits
        if self.figures.under_way > limits.concurrent:
            told = f"{limits.concurrent:,} requests are under way: try again in 1 s"
            raise Problem(429, "concurrency_limit", told, retry_after=1, headers=CLOSE)
        headers = dict(scope["headers"])
        webhook = post.served.webhooks[post.webhook] if post.webhook else None
        caller = await self._caller(post, webhook, headers)
        self._rates.check(caller.name)
        query = scope["query_string"]
        options = options_of(query) if query else USUAL
        body = await body_of(headers, receive, limits)
        self.figures.octets[post.pipeline] += len(body)
        events: Sequence[Event | Problem]
        if webhook is None:
            events, single = post.bodies.read(body, headers, caller.name)
        else:
            name = f"{caller.name}webhook:{post.webhook}"
            events, single = webhook.events(body, headers, name, limits.events), not webhook.mapping.each
        self._rates.charge(caller.name, len(events))
        return await self._sent(post, events, single, options)

    async def _caller(self, post: _Post, webhook: Webhook | None, headers: Mapping[bytes, bytes]) -> Caller:
        """Who sends. A webhook that is signed says so itself, and its sender knows no key of ours."""
        if self._auth.open or (webhook is not None and webhook.signed):
            return ANYBODY
        return await self._auth.caller(headers, post.pipeline)

    async def _sent(self, post: _Post, events: Sequence[Event | Problem], single: bool, options: Options) -> Answer:
        counts = self.figures.events
        if single:
            [event] = events
            if isinstance(event, Problem):
                counts[post.pipeline, "refused"] += 1
                raise event
            try:
                taken, waiter = post.door.take_one(event)
            except Problem:
                counts[post.pipeline, "refused"] += 1
                raise
            counts[post.pipeline, "repeated" if taken.repeated else "sent"] += 1
            if not options.wait:
                return _ACCEPTED
            if waiter is not None and not await waiter.future:
                raise LATE
            return _one(taken)
        sound = [e for e in events if type(e) is Event]
        if not options.partial and len(sound) < len(events):
            counts[post.pipeline, "refused"] += len(events)
            return _many([e if isinstance(e, Problem) else NOT_SENT for e in events], options)
        if not sound:
            counts[post.pipeline, "refused"] += len(events)
            return _many([e for e in events if isinstance(e, Problem)], options)
        handed, waiter = post.door.take(sound)
        if options.wait:
            await waiter.future
        of_sound = iter(handed)
        found = [e if isinstance(e, Problem) else next(of_sound) for e in events]
        for one in found:
            counts[
                post.pipeline, "refused" if isinstance(one, Problem) else "repeated" if one.repeated else "sent"
            ] += 1
        return _many(found, options)

    def _other(self, scope: Scope, post: _Post | None) -> Answer:
        """What is no event."""
        path, method = scope["path"], scope["method"]
        if post is not None:
            return problem(Problem(405, "method", "send events with POST", headers=((b"allow", b"POST"),)))
        if path not in ("/openapi.json", "/metrics", "/health", "/livez", "/readyz"):
            told = f"there is nothing at {path[:100]}; /openapi.json tells what there is"
            return problem(Problem(404, "not_found", told))
        if method not in ("GET", "HEAD"):
            return problem(Problem(405, "method", "read this with GET", headers=((b"allow", b"GET, HEAD"),)))
        if path == "/openapi.json":
            return Answer(200, self._openapi)
        if path == "/metrics":
            text = generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return Answer(200, text, ((b"content-type", CONTENT_TYPE_LATEST.encode()),))
        why = self._trouble(path == "/livez")
        if path == "/health":
            said = {"status": "waiting" if why else "ready", "why": why, "pipelines": sorted(self._pipelines)}
            return Answer(503 if why else 200, orjson.dumps(said))
        return Answer(503 if why else 200, f"{why or 'ok'}\n".encode(), ((b"content-type", b"text/plain"),))

    def _trouble(self, ended: bool) -> str:
        """Why events cannot be taken; ``ended``: only what a restart alone mends."""
        for name, served in self._pipelines.items():
            if served.door.trouble:
                return f"{name}: {served.door.trouble}"
            if not ended and (away := served.door.away_s()):
                return f"{name}: Kafka has taken nothing for {away:.0f} s"
        return ""


_ACCEPTED = Answer(202, b'{"accepted":1}')


def problem(e: Problem) -> Answer:
    """The answer to a request that is refused."""
    body = {"type": "about:blank", "title": _TITLES.get(e.status, "Refused"), **e.told()}
    return Answer(e.status, orjson.dumps(body), ((b"content-type", TYPE), *e.headers))


def _one(taken: Taken) -> Answer:
    sent = taken.sent
    if sent.error is not None:
        raise Problem(502, "kafka_refused", f"Kafka refused the event: {sent.error.str()}")
    repeated = b',"repeated":true}' if taken.repeated else b"}"
    return Answer(200, b'{"partition":%d,"offset":%d%b' % (sent.partition, sent.offset, repeated))


def _many(found: Sequence[Taken | Problem], options: Options) -> Answer:
    if options.wait and (told := _all_sent(found)):
        return Answer(200, told)
    if options.wait:
        results = [told_of(one) for one in found]
    else:
        results = [one.told() if isinstance(one, Problem) else {"status": 202} for one in found]
    statuses = {r["status"] for r in results}
    fine = sum(1 for r in results if r["status"] < 300)
    if fine == len(results):
        status = 200 if options.wait else 202
    elif fine:
        status = 207
    else:
        status = next(iter(statuses)) if len(statuses) == 1 else 503 if 503 in statuses else 422
    summary = {"accepted": fine, "refused": len(results) - fine, "results": results}
    headers = (JSON_TYPE, (b"retry-after", b"5")) if status == 503 else (JSON_TYPE,)
    return Answer(status, orjson.dumps(summary), headers)


def _all_sent(found: Sequence[Taken | Problem]) -> bytes:
    """The answer where Kafka has taken every event, none of them before; empty: it has not."""
    try:
        places = [b'{"status":200,"partition":%d,"offset":%d}' % (t.sent.partition, t.sent.offset) for t in found]  # type: ignore[union-attr]
    except AttributeError:
        return b""
    if any(t.sent.offset < 0 or t.repeated for t in found):  # type: ignore[union-attr]
        return b""
    return b'{"accepted":%d,"refused":0,"results":[%b]}' % (len(found), b",".join(places))


async def _give(send: Send, answer: Answer) -> None:
    length = (b"content-length", str(len(answer.body)).encode())
    await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.headers, length]})
    await send({"type": "http.response.body", "body": answer.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    424: "Failed Dependency",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
