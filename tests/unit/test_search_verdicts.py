"""What a search engine's answers about documents lead to: those that tell of the engine are waited for, those that are
surely the document's own fault are refused, and one that nobody knows holds a stream up for so long and no longer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from headrace.config import Search
from headrace.consumers.forward import bulk
from headrace.consumers.forward.bulk import SearchRoute
from headrace.consumers.forward.engine import Engine
from headrace.consumers.forward.route import Documents, Refused
from headrace.errors import Unavailable

pytestmark = pytest.mark.slow

Item = dict[str, Any]
Says = Callable[[str, Item], Item]
"""From a document's id and body to what the engine says of it."""
FINE: Item = {"status": 201}
ROOT = {
    "name": "n",
    "cluster_name": "c",
    "version": {"number": "2.19.0", "distribution": "opensearch"},
    "tagline": "x",
}
ACCESS = "see HEADRACE_SEARCH__USERNAME, _PASSWORD and _API_KEY, and the rights of that user"
BLOCK = "take the block back (index.blocks.*, cluster.blocks.*)"
SPACE = "make room on the engine's disks; then, if it stays, take index.blocks.read_only_allow_delete back"
PIPELINE = "create it, or take index.default_pipeline and index.final_pipeline of the index back"
LIMIT = "raise the index's setting of that limit (index.mapping.total_fields.limit and its like)"
SHARDS = "raise cluster.max_shards_per_node, or delete indices that are not needed"
ADDS = "this action would add [2] shards, but this cluster currently has [9]/[9] maximum normal shards open;"


@contextmanager
def engine_that_says(says: Says, request: tuple[int, Any] | None = None) -> Iterator[tuple[SearchRoute, list[str]]]:
    """A route to an engine that answers so for each document, or so for every bulk request; and the ids it took."""
    taken: list[str] = []

    class Scripted(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = 200, ROOT
            if self.path.startswith("/_bulk"):
                status, answer = request or (200, self._items(body))
            sent = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = do_any  # noqa: N815

        def _items(self, body: bytes) -> dict[str, Any]:
            lines = [json.loads(line) for line in body.splitlines()]
            items = []
            for head, document in zip(lines[::2], lines[1::2], strict=True):
                said = says(head["index"]["_id"], document)
                taken.extend([head["index"]["_id"]] * (said["status"] < 300))
                items.append({"index": said})
            return {"errors": any(item["index"]["status"] >= 300 for item in items), "items": items}

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    route = SearchRoute(Engine(Search(url=f"http://127.0.0.1:{server.server_address[1]}")), [])
    try:
        yield route, taken
    finally:
        route.close()
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PATIENCE_S", 0.0)
    monkeypatch.setattr(bulk, "FIRST_WAIT_S", 0.001)


def documents(*ids: str, index: str = "shop-outcomes.2024-02") -> Documents:
    bodies = [json.dumps({"@id": id_}).encode() for id_ in ids]
    return Documents("outcomes", "t", ids, [index] * len(ids), np.zeros(len(ids), np.int64), bodies)


def error(kind: str, reason: str, status: int = 400, **more: Any) -> Item:
    return {"status": status, "error": {"type": kind, "reason": reason, **more}}


def of_the_second(said: Item) -> Says:
    return lambda id_, _: said if id_ == "b" else FINE


ILLEGAL = "illegal_argument_exception"
ENGINES_OWN = [
    (error(ILLEGAL, f"Validation Failed: 1: {ADDS}"), SHARDS),
    (error("validation_exception", f"Validation Failed: 1: {ADDS}"), SHARDS),
    (error(ILLEGAL, "pipeline with id [geoip] does not exist"), PIPELINE),
    (error(ILLEGAL, "Limit of total fields [1000] has been exceeded while adding new fields [1]"), LIMIT),
    (
        error(
            "document_parsing_exception",
            "[1:9] failed to parse",
            caused_by={"type": ILLEGAL, "reason": "Limit of mapping depth [20] has been exceeded"},
        ),
        LIMIT,
    ),
    (
        error(ILLEGAL, "no write index is defined for alias [shop]. The write index may be explicitly disabled"),
        "set is_write_index on one index of the alias",
    ),
    (
        error("illegal_state_exception", "There are no ingest nodes in this cluster, unable to forward request"),
        "give a node the role ingest, or take index.default_pipeline back",
    ),
    (
        error("cluster_block_exception", "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage "
              "watermark, index has read-only-allow-delete block];", 429),
        SPACE,
    ),
    (error("cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)];", 403), BLOCK),
    (error("cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/2/no master];", 503), BLOCK),
    (error("index_closed_exception", "closed"), "open the index"),
    (
        error("index_not_found_exception", "no such index [x] and [action.auto_create_index] is [false]", 404),
        "let action.auto_create_index allow the index, or create it",
    ),
    (error("security_exception", "action [indices:data/write/bulk] is unauthorized for user [u]", 403), ACCESS),
    (error("circuit_breaking_exception", "[parent] Data too large", 429), "give the engine more memory, if it stays"),
    (error("routing_missing_exception", "routing is required"), "take _routing.required of the index back"),
    (error("unavailable_shards_exception", "primary shard is not active", 503), ""),
    (error("master_not_discovered_exception", "none", 503), ""),
    (error("process_cluster_event_timeout_exception", "failed to process cluster event (put-mapping) in 30s", 503), ""),
    (error("node_closed_exception", "node closed", 500), ""),
    (error("some_new_exception", "never seen before", 500), ""),
]  # fmt: skip


@pytest.mark.parametrize(("said", "mend"), ENGINES_OWN)
def test_what_tells_of_the_engine_is_waited_for_and_says_what_to_change(said: Item, mend: str) -> None:
    with engine_that_says(of_the_second(said)) as (route, _), pytest.raises(Unavailable) as caught:
        route.send(documents("a", "b"))
    told = str(caught.value)
    assert said["error"]["type"] in told
    assert said["error"]["reason"] in told
    assert told.endswith(
        f"; {mend}" if mend else ("reason" if "caused_by" in said["error"] else said["error"]["reason"])
    )


@pytest.mark.parametrize("kind", ["es_rejected_execution_exception", "rejected_execution_exception"])
def test_an_engine_without_room_says_why_once_patience_is_over(kind: str) -> None:
    full = error(kind, "rejected execution of coordinating operation", 429)
    with engine_that_says(of_the_second(full)) as (route, _), pytest.raises(Unavailable) as caught:
        route.send(documents("a", "b"))
    assert str(caught.value).endswith(f"has had no room for 0 s: {kind}: rejected execution of coordinating operation")


DOCUMENTS_OWN = [
    error("mapper_parsing_exception", "failed to parse field [at] of type [date] in document with id 'b'"),
    error(
        "document_parsing_exception", "[1:9] failed to parse field [at]", caused_by={"type": ILLEGAL, "reason": "no"}
    ),
    error(
        "strict_dynamic_mapping_exception", "[1:9] mapping set to strict, dynamic introduction of [x] is not allowed"
    ),
    error(ILLEGAL, 'Document contains at least one immense term in field="id" (whose UTF8 encoding is longer than'),
    error(
        ILLEGAL, "x", caused_by={"type": "max_bytes_length_exceeded_exception", "reason": "bytes can be at most 32766"}
    ),
    error(ILLEGAL, "The number of nested documents has exceeded the allowed limit of [10000]."),
    error("too_many_clauses", "maxClauseCount is set to 1024"),
    error(ILLEGAL, "id [b] is too long, must be no longer than 512 bytes but was: 600"),
    error("x_content_parse_exception", "[1:9] Duplicate field 'x'"),
    # A document may say anything: what is quoted of it is no word of the engine.
    error("mapper_parsing_exception", "failed to parse. Preview of field's value: 'There are no ingest nodes'"),
    error(
        "document_parsing_exception",
        "failed to parse",
        caused_by={"type": ILLEGAL, "reason": 'For input string: "pipeline with id [x] does not exist"'},
    ),
]


@pytest.mark.parametrize("said", DOCUMENTS_OWN)
def test_what_is_surely_the_documents_fault_is_refused_at_once_with_its_reason(said: Item) -> None:
    with engine_that_says(of_the_second(said)) as (route, taken):
        refused = route.send(documents("a", "b", "c"))
    assert [r.place for r in refused] == [1]
    assert refused[0].reason.startswith(f"{said['error']['type']}: {said['error']['reason']}")
    assert taken == ["a", "c"]


def test_a_document_that_is_there_already_is_taken() -> None:
    conflict = error("version_conflict_engine_exception", "[b]: version conflict, document already exists", 409)
    with engine_that_says(of_the_second(conflict)) as (route, _):
        assert route.send(documents("a", "b")) == []


STRANGE = error(ILLEGAL, "field [region] not present as part of path [geo.region]")


def test_a_document_alone_with_an_unknown_error_is_given_up_after_so_many_tries_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bulk, "SUSPECT_S", 0.0)
    waits = 0
    with engine_that_says(of_the_second(STRANGE)) as (route, _):
        for _ in range(bulk.SUSPECT_TRIES - 1):
            with pytest.raises(
                Unavailable, match="refuses one document and takes others of its index: illegal_argument"
            ):
                route.send(documents("a", "b"))
            waits += 1
        (refused,) = route.send(documents("a", "b"))
    assert waits == bulk.SUSPECT_TRIES - 1
    assert refused == Refused(
        1,
        f"{ILLEGAL}: {STRANGE['error']['reason']} (offered {bulk.SUSPECT_TRIES} times; documents beside it were taken)",
    )
    assert [line for line in caplog.messages if "given up" in line] != []


def test_it_is_not_given_up_before_its_time_however_often_it_is_offered() -> None:
    with engine_that_says(of_the_second(STRANGE)) as (route, _):
        for _ in range(3 * bulk.SUSPECT_TRIES):
            with pytest.raises(Unavailable, match=r"becomes a dead letter in \d+ s, if nothing changes there"):
                route.send(documents("a", "b"))


def test_an_unknown_error_of_every_document_of_an_index_is_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "SUSPECT_S", 0.0)
    broken = True
    with engine_that_says(lambda id_, _: STRANGE if broken else FINE) as (route, taken):
        for _ in range(3 * bulk.SUSPECT_TRIES):
            with pytest.raises(Unavailable, match="does not take documents: illegal_argument_exception: field"):
                route.send(documents("a", "b"))
        broken = False
        assert route.send(documents("a", "b")) == []
        assert taken == ["a", "b"]


def test_a_document_that_comes_alone_is_held_against_the_last_one_that_its_index_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk, "SUSPECT_S", 0.0)
    healthy = True
    with engine_that_says(lambda id_, _: FINE if healthy and id_ != "b" else STRANGE) as (route, _):
        assert route.send(documents("a")) == []
        for _ in range(bulk.SUSPECT_TRIES - 1):
            with pytest.raises(Unavailable, match="refuses one document"):
                route.send(documents("b"))
        healthy = False
        with pytest.raises(Unavailable, match="does not take documents"):
            route.send(documents("b"))
        healthy = True  # and it is counted from the beginning
        for _ in range(bulk.SUSPECT_TRIES - 1):
            with pytest.raises(Unavailable, match="refuses one document"):
                route.send(documents("b"))
        assert [r.place for r in route.send(documents("b"))] == [0]


def test_many_documents_with_an_unknown_error_are_the_engines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "SUSPECT_S", 0.0)
    monkeypatch.setattr(bulk, "SUSPECT_TRIES", 1)
    ids = [f"n{i}" for i in range(bulk.MOST_SUSPECTS + 1)]
    with engine_that_says(lambda id_, _: STRANGE if id_ in ids else FINE) as (route, _):
        with pytest.raises(Unavailable, match="does not take documents"):
            route.send(documents("a", *ids))
        assert [r.place for r in route.send(documents("a", *ids[1:]))] == list(range(1, bulk.MOST_SUSPECTS + 1))


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, {"error": {"type": "security_exception", "reason": "missing authentication"}}, ACCESS),
        (
            403,
            {"error": {"type": "cluster_block_exception", "reason": "blocked by: [FORBIDDEN/6/cluster read-only]"}},
            BLOCK,
        ),
        (403, "no", "see HEADRACE_SEARCH__USERNAME, _PASSWORD and _API_KEY"),
        (400, {"error": {"type": ILLEGAL, "reason": "pipeline with id [x] does not exist"}}, PIPELINE),
        (400, {"error": {"type": ILLEGAL, "reason": "something new"}}, "something new"),
        (404, "<html>nothing here</html>", "<html>nothing here</html>"),
        (502, "bad gateway", "bad gateway"),
        (503, {"error": {"type": "master_not_discovered_exception", "reason": "none"}}, "none"),
        (429, {"error": {"type": "es_rejected_execution_exception", "reason": "full"}}, "full"),
    ],
)
def test_a_request_that_is_answered_as_a_whole_is_waited_for(status: int, body: Any, said: str) -> None:
    with engine_that_says(lambda *_: FINE, (status, body)) as (route, _), pytest.raises(Unavailable) as caught:
        route.send(documents("a", "b"))
    assert str(caught.value).endswith(said)
