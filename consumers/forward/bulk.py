"""The route straight to the search engine: bulk requests, bounded in bytes, their answers read item by item."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from elasticsearch import ApiError

from headrace.consumers.forward.engine import Engine
from headrace.consumers.forward.route import Documents, Refused
from headrace.consumers.forward.setup import prepare
from headrace.consumers.forward.shape import Shape
from headrace.consumers.forward.verdicts import mend, verdict, words
from headrace.errors import Unavailable

log = logging.getLogger("headrace.forward")

REQUEST_BYTES = 2_000_000
"""Bytes of one request, about; a larger document goes alone."""
SIDE_BY_SIDE = 2
"""Requests at a time."""
PATIENCE_S = 10.0
"""How long documents are offered again to an engine that has no room for them."""
FIRST_WAIT_S = 0.1
TOO_LARGE = 413
TOO_MANY = 429
_ASKED = (401, 403)
"""Answers about who asks, or a block of the whole engine."""

SUSPECT_TRIES, SUSPECT_S = 10, 300.0
"""A document that alone meets an error which is nobody's for sure waits until it has been refused so often and for so
long, a neighbour taken by the same index each time. Then it is given up."""
MOST_SUSPECTS = 10
"""Documents of a request that may be under suspicion; where more are refused so, it is the engine."""
MOST_NEIGHBOURS = 64
"""Indices of which a document that was taken is remembered."""
CONFLICT = 409
"""The document is there already: an id is where its record stands, so it is the same one."""

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
        self._suspects: dict[bytes, tuple[float, int]] = {}
        """Head of the document -> when it was first refused alone, and how often."""
        self._neighbours: dict[bytes, bytes] = {}
        """Index -> a document that it has taken."""
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
        unsure: list[tuple[int, Any]] = []
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
            taken: list[int] = []
            why: Any = None
            for place, item in zip(places, items, strict=True):
                error = item.get("error")
                if item["status"] < 300 or item["status"] == CONFLICT:
                    taken.append(place)
                elif verdict(error) == "document":
                    refused.append(Refused(place, words(error)))
                elif item["status"] == TOO_MANY and not mend(error):
                    again.append(place)
                    why = why or error
                elif verdict(error) == "engine" or item["status"] >= 500:
                    raise self._waits(error)
                else:
                    unsure.append((place, error))
            if len(taken) == len(places) and not self._suspects:
                taken = taken[-1:]
            for place in taken:
                self._taken(lines[place])
            places = again
            if places and time.monotonic() > deadline:
                said = f": {words(why)}" if why else ""
                raise Unavailable(f"{self._engine.named} has had no room for {PATIENCE_S:g} s{said}")
            if places:
                time.sleep(wait)
                wait *= 2
        return sorted([*refused, *self._given_up(lines, unsure)])

    def _given_up(self, lines: list[bytes], unsure: list[tuple[int, Any]]) -> list[Refused]:
        """Those of the documents with an error that is nobody's for sure which have been offered long enough.

        Raises:
            Unavailable: one has not.
        """
        if len(unsure) > MOST_SUSPECTS:
            raise self._waits(unsure[0][1])
        refused: list[Refused] = []
        waiting: list[Unavailable] = []
        for place, error in unsure:
            try:
                refused.append(self._suspect(lines[place], place, error))
            except Unavailable as e:
                waiting.append(e)
        if waiting:
            raise waiting[0]
        return refused

    def _taken(self, line: bytes) -> None:
        head = _head(line)
        self._suspects.pop(head, None)
        index = _index(head)
        if index not in self._neighbours and len(self._neighbours) >= MOST_NEIGHBOURS:
            self._neighbours.clear()
        self._neighbours[index] = line

    def _suspect(self, line: bytes, place: int, error: Any) -> Refused:
        """Give up a document whose error is nobody's for sure, once its neighbours have been taken for long enough.

        Raises:
            Unavailable: not yet, or its neighbours are not taken either.
        """
        head = _head(line)
        neighbour = self._neighbours.get(_index(head))
        taken = self._ask([neighbour], [0]) if neighbour is not None else None
        if taken is None or taken[0]["status"] >= 300:
            self._suspects.pop(head, None)
            raise self._waits(error)
        since, tries = self._suspects.get(head, (time.monotonic(), 0))
        tries += 1
        self._suspects[head] = since, tries
        left = SUSPECT_S - (time.monotonic() - since)
        if tries < SUSPECT_TRIES or left > 0:
            raise Unavailable(
                f"{self._engine.named} refuses one document and takes others of its index: {words(error)}. It was "
                f"offered {tries} times and becomes a dead letter in {max(left, 0):.0f} s, if nothing changes there: "
                f"{head.decode()}"
            )
        del self._suspects[head]
        log.error("given up after %d tries, its neighbours were taken: %s: %s", tries, head.decode(), words(error))
        return Refused(place, f"{words(error)} (offered {tries} times; documents beside it were taken)")

    def _waits(self, error: Any) -> Unavailable:
        what = mend(error)
        return Unavailable(
            f"{self._engine.named} does not take documents: {words(error)}" + (f"; {what}" if what else "")
        )

    def _ask(self, lines: list[bytes], places: list[int]) -> list[Item] | None:
        """What the engine says of each document; None where the request must be smaller."""
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
                error = e.body.get("error") if isinstance(e.body, dict) else e.body
                if e.status_code == TOO_MANY:
                    return [{"status": TOO_MANY, "error": error if isinstance(error, dict) else None}] * len(places)
                if e.status_code in _ASKED or e.status_code >= 500:
                    raise
                if verdict(error) == "document" and len(places) > 1:  # of which one, a smaller request tells
                    return None
                return [{"status": e.status_code, "error": error}] * len(places)
        if not answer["errors"]:
            return [_TAKEN] * len(places)
        items = [item["index"] for item in answer["items"]]
        if len(items) != len(places):
            raise Unavailable(f"{self._engine.named} answers for {len(items)} of {len(places)} documents")
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


def _head(line: bytes) -> bytes:
    """The first line of a document, which names its index and id."""
    return line.partition(b"\n")[0]


def _index(head: bytes) -> bytes:
    return head.partition(b'","_id":')[0]
