"""The route straight to the search engine: bulk requests, bounded in bytes, their answers read item by item."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from elasticsearch import ApiError

from headrace.consumers.forward.engine import Engine
from headrace.consumers.forward.route import Documents, Refused
from headrace.consumers.forward.setup import prepare
from headrace.consumers.forward.shape import Shape
from headrace.errors import Unavailable

REQUEST_BYTES = 2_000_000
"""Bytes of one request, about; a larger document goes alone."""
SIDE_BY_SIDE = 2
"""Requests at a time."""
PATIENCE_S = 10.0
"""How long documents are offered again to an engine that has no room for them."""
FIRST_WAIT_S = 0.1
TOO_LARGE = 413
TOO_MANY = 429

DOCUMENT_FAULTS = frozenset(
    {
        "document_parsing_exception",
        "illegal_argument_exception",
        "mapper_parsing_exception",
        "strict_dynamic_mapping_exception",
        "x_content_parse_exception",
    }
)
"""Errors that lie in the document: offered again, it would be refused again. Any other is the engine's own, and passes
or is mended there."""

Item = dict[str, Any]
_TAKEN: Item = {"status": 200}


class SearchRoute:
    """Writes documents with the engine's bulk API, each under its own id.

    Args:
        engine: where to.
        shapes: of the documents to come; their templates are put there before the first.
    """

    def __init__(self, engine: Engine, shapes: Sequence[Shape]) -> None:
        self._engine = engine
        self._shapes = shapes
        self._prepared = False
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="bulk")

    def send(self, documents: Documents) -> list[Refused]:
        """See :class:`~headrace.consumers.forward.route.Route`.

        Raises:
            ConfigError: an index of the name is there already and is another's; the message says how it differs.
        """
        if not self._prepared:
            prepare(self._engine, self._shapes)
            self._prepared = True
        lines = [
            b'{"index":{"_index":"%b","_id":"%b"}}\n%b\n' % (target.encode(), id_.encode(), body)
            for target, id_, body in zip(documents.targets, documents.ids, documents.bodies, strict=True)
        ]
        found: list[Refused] = []
        for refused in self._pool.map(lambda part: self._offer(lines, part), _parts(lines)):
            found += refused
        return found

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._engine.close()

    def _offer(self, lines: list[bytes], places: list[int]) -> list[Refused]:
        """Offer documents until the engine has taken or refused each."""
        refused: list[Refused] = []
        deadline, wait = time.monotonic() + PATIENCE_S, FIRST_WAIT_S
        while places:
            items = self._ask(lines, places)
            if items is None:
                if len(places) == 1:
                    size = len(lines[places[0]])
                    return [*refused, Refused(places[0], f"too large: the engine takes no request of {size:,} bytes")]
                half = len(places) // 2
                return [*refused, *self._offer(lines, places[:half]), *self._offer(lines, places[half:])]
            again: list[int] = []
            for place, item in zip(places, items, strict=True):
                if item["status"] < 300:
                    continue
                if item["status"] == TOO_MANY:
                    again.append(place)
                elif item["error"].get("type") in DOCUMENT_FAULTS:
                    refused.append(Refused(place, _reason(item["error"])))
                else:
                    raise Unavailable(
                        f"search engine {self._engine.url} does not take documents: {_reason(item['error'])}"
                    )
            places = again
            if places and time.monotonic() > deadline:
                raise Unavailable(f"search engine {self._engine.url} has had no room for {PATIENCE_S:g} s")
            if places:
                time.sleep(wait)
                wait *= 2
        return sorted(refused)

    def _ask(self, lines: list[bytes], places: list[int]) -> list[Item] | None:
        """What the engine says of each document; None where the request is too large for it."""
        body = b"".join([lines[place] for place in places])
        with self._engine.asked("a bulk request"):
            try:
                answer = self._engine.client.bulk(
                    operations=body,  # type: ignore[arg-type]  # ready-made lines go as they are
                    filter_path="errors,items.index.status,items.index.error",
                )
            except ApiError as e:
                if e.status_code == TOO_LARGE:
                    return None
                if e.status_code == TOO_MANY:
                    return [{"status": TOO_MANY}] * len(places)
                raise
        if not answer["errors"]:
            return [_TAKEN] * len(places)
        items = [item["index"] for item in answer["items"]]
        if len(items) != len(places):
            raise Unavailable(f"search engine {self._engine.url} answers for {len(items)} of {len(places)} documents")
        return items


def _parts(lines: Sequence[bytes]) -> Iterator[list[int]]:
    """Places of the lines of each request."""
    part: list[int] = []
    size = 0
    for place, line in enumerate(lines):
        if part and size + len(line) > REQUEST_BYTES:
            yield part
            part, size = [], 0
        part.append(place)
        size += len(line)
    if part:
        yield part


def _reason(error: Any) -> str:
    """What is wrong with a document, down to what caused it."""
    if not isinstance(error, dict):
        return str(error)
    said, cause = f"{error.get('type')}: {error.get('reason')}", error.get("caused_by")
    return f"{said} ({_reason(cause)})" if cause else said
