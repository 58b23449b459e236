"""What a registry answers: a refusal names the credential or the setting and ends the command, an outage is waited for,
'no such schema' is neither."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headrace.config import Settings
from headrace.errors import ConfigError, HeadraceError, SchemaError, Unavailable
from headrace.schema import unknown as module
from headrace.schema.registry import ConfluentRegistry

SCHEMA = {"type": "record", "name": "Click", "fields": []}
Answer = tuple[int, object]
FINE: dict[str, Answer] = {
    "/config": (200, {"compatibility": "BACKWARD_TRANSITIVE", "compatibilityLevel": "BACKWARD_TRANSITIVE"}),
    "/subjects": (200, {"id": 1, "version": 1, "subject": "s", "schema": json.dumps(SCHEMA)}),
    "/schemas": (200, {"schema": json.dumps(SCHEMA)}),
}
CREDENTIALS = (
    "; see basic.auth.user.info (or another credential) in HEADRACE_REGISTRY or [registry] of headrace.toml, and the "
    "rights of that user"
)
ADDRESS = "see --registry or HEADRACE_REGISTRY_URL, its path too"
DENIED = (403, {"error_code": 40301, "message": "User is denied"})


@contextmanager
def registry_that_says(answers: dict[str, Answer]) -> Iterator[tuple[ConfluentRegistry, list[str]]]:
    """A registry that answers by the longest prefix of ``METHOD PATH`` or ``PATH``, and the requests it had."""
    asked: list[str] = []

    class Scripted(BaseHTTPRequestHandler):
        def do_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = f"{self.command} {self.path}"
            asked.append(request)
            fitting = [k for k in {**FINE, **answers} if request.startswith(k) or self.path.startswith(k)]
            status, said = {**FINE, **answers}[max(fitting, key=lambda k: (k in answers, len(k)))]
            body = said.encode() if isinstance(said, str) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_any  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield ConfluentRegistry(Settings(registry_url=f"http://127.0.0.1:{server.server_address[1]}")), asked
    finally:
        server.shutdown()
        server.server_close()


Ask = Callable[[ConfluentRegistry], object]
ASKED: list[tuple[Ask, str]] = [
    (lambda r: r.register("s", SCHEMA), "to set the compatibility of subject s to BACKWARD_TRANSITIVE"),
    (lambda r: r.schema_id("s", SCHEMA), "for subject s"),
    (lambda r: r.schema_of(7), "for schema 7"),
]
asking = pytest.mark.parametrize(("ask", "what"), ASKED, ids=["register", "schema_id", "schema_of"])


def error_of(answer: Answer, ask: Ask) -> tuple[type[BaseException], str]:
    """The error, when every request is answered so; the registry's address is URL in it."""
    with registry_that_says({"/": answer}) as (registry, _), pytest.raises(HeadraceError) as caught:
        ask(registry)
    return caught.type, str(caught.value).replace(registry.url, "URL")


@asking
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {"error_code": 401, "message": "Unauthorized"}), "401: Unauthorized" + CREDENTIALS),
        (DENIED, "403: User is denied" + CREDENTIALS),
        ((404, {"error_code": 404, "message": "HTTP 404 Not Found"}), f"404: HTTP 404 Not Found; {ADDRESS}"),
        ((404, "<html>"), f"404: Unknown Schema Registry Error: b'<html>'; {ADDRESS}"),
        ((405, "no"), f"405: Unknown Schema Registry Error: b'no'; {ADDRESS}"),
        ((302, ""), f"302: Unknown Schema Registry Error: b''; {ADDRESS}"),
    ],
)
def test_a_refusal_is_one_line_that_names_what_to_change(ask: Ask, what: str, answer: Answer, said: str) -> None:
    if answer == DENIED and what.startswith("to set"):
        what = "to register subject s"
    kind, text = error_of(answer, ask)
    assert issubclass(kind, ConfigError)
    assert text == f"schema registry URL, asked {what}, refuses with {said}"


@asking
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_registry_that_may_answer_later_is_away(ask: Ask, what: str, status: int) -> None:
    kind, text = error_of((status, {"error_code": status * 100 + 1, "message": "not now"}), ask)
    assert kind is Unavailable
    assert text.startswith("schema registry URL is away: not now")


@asking
def test_a_page_of_somebody_else_is_no_registry(ask: Ask, what: str) -> None:
    kind, text = error_of((200, "<html>Sign in</html>"), ask)
    assert kind is ConfigError
    assert text == f"schema registry URL, asked {what}, does not answer as a registry: {ADDRESS}"


def test_a_schema_that_the_registry_does_not_take_is_told_in_its_own_words() -> None:
    says = (422, {"error_code": 42201, "message": "Invalid schema: the namespace must begin with acme"})
    with registry_that_says({"POST /subjects": says}) as (registry, _), pytest.raises(SchemaError) as caught:
        registry.register("s", SCHEMA)
    assert str(caught.value).replace(registry.url, "URL") == (
        "schema registry URL, asked to register subject s, refuses with 422: Invalid schema: the namespace must begin "
        "with acme"
    )


@pytest.mark.parametrize(
    ("own", "shared", "outcome"),
    [
        ((200, {"compatibilityLevel": "FULL_TRANSITIVE"}), DENIED, "goes on"),
        (
            (404, {"error_code": 40408, "message": "none"}),
            (200, {"compatibilityLevel": "BACKWARD_TRANSITIVE"}),
            "goes on",
        ),
        ((200, {"compatibilityLevel": "BACKWARD"}), DENIED, "It is BACKWARD: have it set"),
        (
            (404, {"error_code": 40401, "message": "none"}),
            (200, {"compatibilityLevel": "NONE"}),
            "It is NONE: have it set",
        ),
        (DENIED, DENIED, "warns"),
    ],
)
def test_where_the_compatibility_is_not_ours_to_set_what_it_is_decides(
    own: Answer, shared: Answer, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "headrace.registry")
    with registry_that_says({"PUT /config": DENIED, "GET /config/s": own, "GET /config": shared}) as (registry, _):
        if outcome in ("goes on", "warns"):
            assert registry.register("s", SCHEMA) == 1
        else:
            with pytest.raises(ConfigError) as caught:
                registry.register("s", SCHEMA)
            assert str(caught.value).endswith(f"{CREDENTIALS}. {outcome}")
    assert ["cannot be read either" in line for line in caplog.messages] == [True] * (outcome == "warns")


@pytest.mark.parametrize("code", [40401, 40402, 40403])
def test_no_such_schema_is_no_refusal(code: int) -> None:
    with registry_that_says({"/": (404, {"error_code": code, "message": "not found"})}) as (registry, _):
        assert registry.schema_of(7) is None
        with pytest.raises(
            SchemaError, match=r"^subject s does not hold this schema: run `headrace init PIPELINE` first$"
        ):
            registry.schema_id("s", SCHEMA)


def test_an_unknown_id_is_asked_for_again_only_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    answers: dict[str, Answer] = {"/schemas/ids/7": (404, {"error_code": 40403, "message": "not found"})}
    with registry_that_says(answers) as (registry, asked):
        assert [registry.schema_of(i) for i in (7, 7, 7, 8, 7)] == [None, None, None, SCHEMA, None]
        assert [request.split("?")[0] for request in asked] == ["GET /schemas/ids/7", "GET /schemas/ids/8"]
        del answers["/schemas/ids/7"]
        now += module.UNKNOWN_S
        assert registry.schema_of(7) == SCHEMA


def test_a_flood_of_unknown_ids_is_looked_up_in_portions_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    ids = list(range(10, 10 + module.AT_ONCE + 2 * module.A_SECOND))
    with registry_that_says({"/schemas/ids": (404, {"error_code": 40403, "message": "none"})}) as (registry, asked):
        for _ in range(2):
            with pytest.raises(Unavailable, match="is asked for no more schema ids for now: "):
                all(registry.schema_of(schema_id) is None for schema_id in ids)
            now += 1  # then the batch is read from its start again
        assert [registry.schema_of(schema_id) for schema_id in ids] == [None] * len(ids)
        assert sorted(int(r.split("/")[-1].split("?")[0]) for r in asked) == ids


def test_the_more_ids_are_unknown_the_longer_each_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    ids = module.UnknownIds()
    for schema_id in range(10_000):
        ids.add(schema_id, "")
    now += module.UNKNOWN_S
    known = [ids.reason(schema_id) is not None for schema_id in range(10_000)]
    assert (known[0], known[-1]) == (False, True)
    now += 10_000 / module.AGAIN_A_SECOND
    assert not any(ids.reason(schema_id) is not None for schema_id in range(10_000))


ADDRESS_TYPE = {"type": "record", "name": "Address", "namespace": "acme", "fields": [{"name": "at", "type": "Place"}]}
PLACE = {"type": "record", "name": "Place", "namespace": "acme", "fields": [{"name": "city", "type": "string"}]}
HOME = {"type": "record", "name": "Click", "fields": [{"name": n, "type": "acme.Address"} for n in ("home", "work")]}


def version(schema: object, *references: tuple[str, str]) -> Answer:
    refs = [{"name": name, "subject": subject, "version": 3} for name, subject in references]
    return 200, {"id": 5, "version": 3, "subject": "s", "schema": json.dumps(schema), "references": refs}


def test_types_of_other_subjects_are_put_in_where_they_are_first_named() -> None:
    answers = {
        "/schemas/ids/7": version(HOME, ("acme.Address", ":.eu:address")),
        "/subjects/%3A.eu%3Aaddress/versions/3": version(ADDRESS_TYPE, ("acme.Place", "place")),
        "/subjects/place/versions/3": version(PLACE),
        "/subjects/s/versions/latest": version(HOME, ("acme.Address", ":.eu:address")),
    }
    whole = {**ADDRESS_TYPE, "fields": [{"name": "at", "type": PLACE}]}
    wanted = {**HOME, "fields": [{"name": "home", "type": whole}, {"name": "work", "type": "acme.Address"}]}
    with registry_that_says(answers) as (registry, asked):
        assert registry.schema_of(7) == wanted
        assert registry.schema_of(7) == wanted
        assert len(asked) == 3
        assert registry.latest("s") == wanted


def test_a_type_that_the_registry_does_not_have_is_told_and_asked_for_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    answers = {
        "/schemas/ids/7": version(HOME, ("acme.Address", "address")),
        "/subjects/address": (404, {"error_code": 40401, "message": "none"}),
    }
    with registry_that_says(answers) as (registry, asked):
        for _ in range(3):
            with pytest.raises(
                SchemaError, match=r"^it names acme\.Address of version 3 of subject address, which the"
            ):
                registry.schema_of(7)
        assert len(asked) == 2
        answers["/subjects/address"] = version({**PLACE, "name": "Address"})
        now += module.UNKNOWN_S
        assert registry.schema_of(7) is not None


@pytest.mark.parametrize(("kind", "text"), [("PROTOBUF", "syntax = 'proto3';"), ("JSON", '{"type": "object"}')])
def test_a_schema_that_is_no_avro_is_told(kind: str, text: str) -> None:
    answer = (200, {"schema": text, "schemaType": kind, "id": 7, "version": 1, "subject": "s"})
    with registry_that_says({"/schemas/ids/7": answer, "/subjects/s": answer}) as (registry, _):
        with pytest.raises(SchemaError, match=f"^it is of type {kind}, no Avro$"):
            registry.schema_of(7)
        with pytest.raises(SchemaError, match=f"^the latest schema of subject s cannot be read: it is of type {kind}"):
            registry.latest("s")


@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_registry_that_knows_no_guids_knows_no_schema_of_one(status: int) -> None:
    guid = "00000000-0000-0000-0000-000000000007"
    with registry_that_says({"/schemas/guids": (status, "<html>")}) as (registry, asked):
        assert registry.schema_of(guid) is None
        assert registry.schema_of(guid) is None
    assert [request.split("?")[0] for request in asked] == [f"GET /schemas/guids/{guid}"]
    found = {"schema": json.dumps(SCHEMA), "guid": guid}
    with registry_that_says({f"/schemas/guids/{guid}": (200, found)}) as (registry, _):
        assert registry.schema_of(guid) == SCHEMA


@pytest.mark.parametrize("level", ["BACKWARD_TRANSITIVE", "NONE"])
def test_a_registry_that_may_only_be_read_is_enough_where_all_is_right(level: str) -> None:
    read_only = (422, {"error_code": 42205, "message": "Subject s is in read-only mode"})
    answers = {"PUT /config": read_only, "GET /config/s": (200, {"compatibilityLevel": level})}
    with registry_that_says(answers) as (registry, _):
        if level != "NONE":
            assert registry.register("s", SCHEMA) == 1
            return
        with pytest.raises(ConfigError) as caught:
            registry.register("s", SCHEMA)
    assert str(caught.value).replace(registry.url, "URL") == (
        "schema registry URL, asked to set the compatibility of subject s to BACKWARD_TRANSITIVE, refuses with 422: "
        "Subject s is in read-only mode; set its mode to READWRITE, or have its owner register the schemas that "
        "`headrace schema diff` shows. It is NONE: have it set"
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {"is_compatible": True}), ""),
        ((200, {"is_compatible": False}), "schema registry URL: it is not compatible with those registered before"),
        ((404, {"error_code": 40401, "message": "no subject"}), ""),
        (
            (422, {"error_code": 42201, "message": "no Avro"}),
            "schema registry URL, asked whether it would take a schema of subject s, refuses with 422: no Avro",
        ),
    ],
)
def test_whether_a_schema_would_be_taken_is_asked_without_registering_it(answer: Answer, said: str) -> None:
    with registry_that_says({"POST /compatibility": answer}) as (registry, asked):
        assert registry.objection("s", SCHEMA).replace(registry.url, "URL") == said
    assert [request.split("?")[0] for request in asked] == ["POST /compatibility/subjects/s/versions"]


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"basic.auth.user.info": "nobody"}, "basic.auth.user.info must be in the form"),
        ({"no.such.thing": "1"}, "no.such.thing"),
        ({"ssl.ca.location": "/nowhere.pem"}, "No such file"),
    ],
)
def test_a_property_that_the_client_refuses_is_a_config_error(properties: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^schema registry property refused: .*{said}"):
        ConfluentRegistry(Settings(registry_url="http://127.0.0.1:1", registry=properties))


def test_a_connection_that_the_registry_let_go_is_made_anew() -> None:
    """The first request meets a connection that is closed without an answer; the second is answered."""

    class Once(BaseHTTPRequestHandler):
        asked = 0

        def do_GET(self) -> None:
            type(self).asked += 1
            if self.asked == 1:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            body = json.dumps({"error_code": 40403, "message": "no such schema"}).encode()
            self.send_response(404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Once)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        registry = ConfluentRegistry(Settings(registry_url=f"http://127.0.0.1:{server.server_address[1]}"))
        assert registry.schema_of(7) is None
        assert Once.asked == 2
    finally:
        server.shutdown()
        server.server_close()
