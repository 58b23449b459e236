"""The body of a request: whole, within limits of size and time, and decompressed; and the request's options."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from headrace.producers.http.limits import Limits
from headrace.producers.http.problem import Problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
CLOSE = ((b"connection", b"close"),)


class Options(NamedTuple):
    """What a request asks for.

    Attributes:
        wait: whether it is answered when Kafka has the events, or when they are on their way.
        partial: whether the sound events of a body are sent where others are not.
    """

    wait: bool = True
    partial: bool = True


USUAL = Options()
_VALUES = {"ack": {"kafka": True, "none": False}, "partial": {"true": True, "false": False}}


def options_of(query: bytes) -> Options:
    """The options in a query string.

    Raises:
        Problem: 400: one is not known, or has another value.
    """
    if not query:
        return USUAL
    found: dict[str, bool] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in _VALUES:
            raise Problem(400, "bad_option", f"there is no option {name[:40]!r}; there are ack and partial")
        if value not in _VALUES[name]:
            raise Problem(400, "bad_option", f"{name}={value[:40]}: use {' or '.join(_VALUES[name])}")
        found[name] = _VALUES[name][value]
    return Options(found.get("ack", True), found.get("partial", True))


async def body_of(headers: Mapping[bytes, bytes], receive: Receive, limits: Limits) -> bytes:
    """The body, decompressed.

    Raises:
        Problem: 408, 413 or 415: it is too slow, too large, or compressed in another way than gzip.
    """
    length = headers.get(b"content-length")
    if length is not None and int(length) > limits.body:
        raise _too_large(limits)
    message = await receive() if length is not None else await _within(receive, limits.body_s)
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body = await _rest(body, receive, limits)
    elif message["type"] == "http.disconnect":
        raise Problem(400, "disconnected", "the body did not come whole", headers=CLOSE)
    encoding = headers.get(b"content-encoding")
    return body if encoding is None else _decompressed(body, encoding, limits)


async def _rest(first: bytes, receive: Receive, limits: Limits) -> bytes:
    parts, size, until = [first], len(first), time.monotonic() + limits.body_s
    while True:
        message = await _within(receive, until - time.monotonic())
        if message["type"] == "http.disconnect":
            raise Problem(400, "disconnected", "the body did not come whole", headers=CLOSE)
        part = message.get("body", b"")
        size += len(part)
        if size > limits.body:
            raise _too_large(limits)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _within(receive: Receive, seconds: float) -> MutableMapping[str, Any]:
    try:
        return await asyncio.wait_for(receive(), max(0.001, seconds))
    except TimeoutError:
        raise Problem(408, "too_slow", "the body did not come in time", headers=CLOSE) from None


def _decompressed(body: bytes, encoding: bytes, limits: Limits) -> bytes:
    name = encoding.strip().lower()
    if name == b"identity":
        return body
    if name not in (b"gzip", b"x-gzip"):
        raise Problem(
            415,
            "content_encoding",
            f"content encoding {name[:40].decode('latin-1')} is not read; use gzip",
            headers=((b"accept-encoding", b"gzip"),),
        )
    found, rest = b"", body
    try:
        while rest:  # a gzip file may have several members
            inflate = zlib.decompressobj(31)
            found += inflate.decompress(rest, limits.body + 1 - len(found))
            if len(found) > limits.body:
                raise _too_large(limits)
            if not inflate.eof:
                raise zlib.error("it ends too soon")
            rest = inflate.unused_data
    except zlib.error as e:
        raise Problem(400, "not_gzip", f"the body is not gzip: {e}") from None
    return found


def _too_large(limits: Limits) -> Problem:
    return Problem(
        413, "too_large", f"the body has more than {limits.body:,} bytes: send fewer events at once", headers=CLOSE
    )
