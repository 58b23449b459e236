"""Events over HTTP on a log in memory: every kind of body, every answer, repeats, what is refused and why."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
from dataclasses import replace
from typing import Any

import fastavro
import pytest

from headrace.codec.values import record_encoder
from headrace.producers.http.limits import Limits
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import RAW, toy
from tests.unit.asking import EVENTS, Asking, click

FIELDS: Any = RAW["fields"]
LINES = "application/x-ndjson"
CLOUD, CLOUDS = "application/cloudevents+json", "application/cloudevents-batch+json"


def avro(events: list[dict[str, Any]], codec: str = "null", schema: dict[str, Any] = RAW) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, schema, events, codec=codec)
    return out.getvalue()


def cloud(data: object, id: str = "e1", **more: object) -> dict[str, object]:
    return {"specversion": "1.0", "id": id, "source": "/till/1", "type": "click", "data": data, **more}


def lines(*events: object) -> str:
    return "\n".join(json.dumps(event) for event in events)


def python(name: str) -> dict[str, Any]:
    return {**click(name), "at": 1_704_067_200_000_000}


def wire(asking: Asking, event: dict[str, Any]) -> bytes:
    return asking.topics.codec("raw").header() + record_encoder(RAW)(event)


def test_one_event_is_answered_with_where_kafka_has_it() -> None:
    asking = Asking()
    for name in ("a", "b"):
        found = asking.post(click(name))
        partition, offset = asking.places()[name]
        assert (found.status, found.json) == (200, {"partition": partition, "offset": offset})
        assert found.headers["content-type"] == "application/json"
    assert asking.names() == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", json.dumps([click("a"), click("b")])),
        ("application/json; charset=utf-8", json.dumps([click("a"), click("b")], indent=2)),
        ("application/vnd.shop+json", json.dumps([click("a"), click("b")])),
        (LINES, lines(click("a"), click("b")) + "\n\n"),
        ("application/jsonl", lines(click("a"), click("b"))),
        ("application/avro", avro([python("a"), python("b")])),
        ("avro/binary", avro([python("a"), python("b")], "deflate")),
        (CLOUDS, json.dumps([cloud(click("a"), "1"), cloud(click("b"), "2")])),
    ],
)
def test_many_events_of_every_kind_of_body_are_answered_one_by_one(kind: str, body: Any) -> None:
    asking = Asking()
    found = asking.post(body, kind)
    results = [{"status": 200, "partition": p, "offset": o} for p, o in (asking.places()[n] for n in "ab")]
    assert (found.status, found.json) == (200, {"accepted": 2, "refused": 0, "results": results})
    assert asking.names() == ["a", "b"]


def test_the_bodies_of_one_event_give_one_record() -> None:
    asking = Asking()
    text = json.dumps(click("c"))
    packed = {**cloud(0, "e2"), "data_base64": base64.b64encode(json.dumps(click("e")).encode()).decode()}
    del packed["data"]
    one = [
        asking.post(click("a")),
        asking.post(wire(asking, python("b")), "application/avro"),
        asking.post(text, ce_specversion="1.0", ce_id="1", ce_source="s", ce_type="t"),
        asking.post(cloud(click("d")), CLOUD),
        asking.post(packed, CLOUD),
        asking.post(gzip.compress(json.dumps(click("f")).encode()), content_encoding="gzip"),
    ]
    assert [a.status for a in one] == [200] * 6
    assert asking.names() == list("abcdef")


def test_a_record_carries_the_attributes_of_its_cloudevent() -> None:
    asking = Asking()
    asking.post(cloud(click("a"), "e1", subject="s", partitionkey=5), CLOUD)
    [entry] = [e for entries in asking.topics.log.entries.values() for e in entries]  # type: ignore[attr-defined]
    carried = {n: v for n, v in entry.headers if n.startswith("ce_")}
    assert carried == {
        "ce_specversion": b"1.0",
        "ce_id": b"e1",
        "ce_source": b"/till/1",
        "ce_type": b"click",
        "ce_subject": b"s",
        "ce_partitionkey": b"5",
    }


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", json.dumps([click("a"), click("b", price="9.5"), 5, click("d")])),
        (LINES, lines(click("a"), click("b", price="9.5"), 5, click("d"))),
        (CLOUDS, json.dumps([cloud(click("a"), "1"), cloud(click("b", price="9.5"), "2"), 5, cloud(click("d"), "4")])),
    ],
)
def test_of_many_events_the_sound_ones_are_sent_and_the_others_told_by_field(kind: str, body: str) -> None:
    asking = Asking()
    found = asking.post(body, kind)
    results = found.json["results"]
    assert (found.status, found.json["accepted"], found.json["refused"]) == (207, 2, 2)
    assert [r["status"] for r in results] == [200, 422, 422, 200]
    assert results[1]["field"] == "price"
    assert results[1]["detail"] == 'field price is "9.5", not a double'
    assert asking.names() == ["a", "d"]


def test_with_partial_false_one_that_does_not_fit_keeps_all_from_being_sent() -> None:
    asking = Asking()
    found = asking.post([click("a"), click("b", price="9.5")], query="partial=false")
    assert (found.status, [r["status"] for r in found.json["results"]]) == (422, [424, 422])
    assert asking.names() == []
    assert asking.post([click("a"), click("b")], query="partial=false").status == 200
    assert asking.names() == ["a", "b"]


def test_without_an_acknowledgement_events_are_on_their_way_when_it_answers() -> None:
    asking = Asking()
    one, many = asking.post(click("a"), query="ack=none"), asking.post([click("b")], query="ack=none")
    assert (one.status, one.json) == (202, {"accepted": 1})
    assert (many.status, many.json) == (202, {"accepted": 1, "refused": 0, "results": [{"status": 202}]})
    assert asking.names() == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ("{", 400, "not_json", None),
        ("", 400, "not_json", None),
        ('{"kind": NaN}', 400, "not_json", None),
        ('{"kind":"a","kind":"b"}', 400, "not_json", None),
        ('{"kind" :"a","kind":"b"}', 400, "not_json", None),
        (b'{"kind":"\xff"}', 400, "not_json", None),
        ("[" * 100_000, 400, "not_json", None),
        ("5", 422, "not_event", None),
        ("null", 422, "not_event", None),
        ("[]", 422, "no_events", None),
        (json.dumps(click(user=None)), 422, "misfit", "user"),
        (json.dumps({k: v for k, v in click().items() if k != "kind"}), 422, "misfit", "kind"),
        (json.dumps(click(extra=1)), 422, "misfit", "extra"),
        (json.dumps(click(price=True)), 422, "misfit", "price"),
        (json.dumps(click()).replace("1.5", "18446744073709551617"), 422, "misfit", "price"),
        (json.dumps(click()).replace("1.5", "1e-400"), 422, "misfit", "price"),
        (json.dumps(click()).replace("1.5", "1e400"), 422, "misfit", "price"),
        (json.dumps(click(at="2024-W01-1T00:00:00Z")), 422, "misfit", "at"),
        (json.dumps(click(at="yesterday")), 422, "misfit", "at"),
        (json.dumps(click(at=5)), 422, "misfit", "at"),
        (json.dumps(click("\ud800")), 422, "misfit", "click_id"),
    ],
)
def test_a_body_that_is_no_event_is_refused_with_its_field(body: Any, status: int, code: str, field: Any) -> None:
    asking = Asking()
    found = asking.post(body)
    assert (found.status, found.json["code"], found.json.get("field")) == (status, code, field)
    assert found.headers["content-type"] == "application/problem+json"
    assert asking.names() == []


@pytest.mark.parametrize(
    ("kind", "headers", "status", "code"),
    [
        ("", {}, 415, "content_type"),
        ("text/csv", {}, 415, "content_type"),
        ("application/json; charset=latin-1", {}, 415, "charset"),
        ("application/json", {"content_encoding": "br"}, 415, "content_encoding"),
        ("application/json", {"content_encoding": "gzip"}, 400, "not_gzip"),
        ("application/json", {"idempotency_key": "é"}, 400, "bad_id"),
        ("application/json", {"idempotency_key": "k" * 256}, 400, "bad_id"),
        ("application/json", {"ce_specversion": "1.0"}, 400, "not_cloudevent"),
        ("application/avro", {}, 422, "not_avro"),
    ],
)
def test_headers_that_are_not_read_are_refused(kind: str, headers: dict[str, str], status: int, code: str) -> None:
    found = Asking().post(click(), kind, **headers)
    assert (found.status, found.json["code"]) == (status, code)


@pytest.mark.parametrize("query", ["ack=all", "acks=none", "partial=1", "ack"])
def test_an_option_that_is_not_known_is_refused(query: str) -> None:
    assert Asking().post(click(), query=query).json["code"] == "bad_option"


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (cloud(click(), specversion="0.3"), "its specversion is 0.3, and 1.0 is read"),
        (cloud(click(), id=""), "the CloudEvent has no id"),
        ({"data": click()}, "the CloudEvent has no id"),
        (cloud(click(), other={}), "the attribute other is neither text, number nor boolean"),
        (cloud(click(), Bad="x"), "'Bad' is no name of an attribute: a-z and 0-9 alone are"),
        (cloud(click(), data_base64="e30="), "it has both data and data_base64"),
        (5, "a CloudEvent is a JSON object"),
    ],
)
def test_what_is_no_cloudevent_is_refused(event: object, why: str) -> None:
    found = Asking().post(event, CLOUD)
    assert (found.status, found.json["detail"]) == (422, why)


def test_a_repeat_under_one_key_is_answered_as_the_first_was_and_sends_nothing() -> None:
    asking = Asking()
    first = asking.post(click("a"), idempotency_key="k1").json
    assert asking.post(click("a"), idempotency_key="k1").json == {**first, "repeated": True}
    assert asking.post(click("a"), idempotency_key='"k1"').json == {**first, "repeated": True}
    assert asking.post(click("a"), idempotency_key="k2").json["offset"] == first["offset"] + 1
    assert asking.names() == ["a", "a"]


def test_a_repeat_after_a_restart_sends_nothing() -> None:
    asking = Asking()
    one = asking.post(click("a"), idempotency_key="k1").json
    many = asking.post([click("b"), click("c", price="x"), click("d")], idempotency_key="k2").json["results"]
    event = asking.post(cloud(click("e")), CLOUD).json
    again = asking.again()
    assert again.post(click("a"), idempotency_key="k1").json == {**one, "repeated": True}
    found = again.post([click("b"), click("c", price=2.0), click("d")], idempotency_key="k2")
    assert found.status == 200  # what was refused is sent now, what was sent is not
    first, mended, third = found.json["results"]
    assert [first, third] == [{**many[0], "repeated": True}, {**many[2], "repeated": True}]
    assert "repeated" not in mended
    assert again.post(cloud(click("e")), CLOUD).json == {**event, "repeated": True}
    assert again.post([cloud(click("e"))], CLOUDS).json["results"][0]["repeated"] is True
    assert again.names() == ["a", "b", "c", "d", "e"]


def test_another_event_under_a_known_id_is_refused() -> None:
    asking = Asking()
    asking.post(click("a"), idempotency_key="k1")
    for door in (asking, asking.again()):
        found = door.post(click("b"), idempotency_key="k1")
        assert (found.status, found.json["code"]) == (409, "id_conflict")
    assert asking.names() == ["a"]


def test_repeats_at_once_send_one_record_and_wait_for_it() -> None:
    asking = Asking()

    async def main() -> list[Any]:
        headers = {"content-type": "application/json", "idempotency-key": "k"}
        asked = (asking.ask("POST", EVENTS, "", click("a"), headers) for _ in range(20))
        return [a.json for a in await asyncio.gather(*asked)]

    found = asking.run(main())
    [first] = [f for f in found if "repeated" not in f]
    assert [f for f in found if f != first] == [{**first, "repeated": True}] * 19
    assert asking.names() == ["a"]


def test_an_id_is_forgotten_after_its_span_and_a_full_memory_refuses_rather_than_forget_sooner() -> None:
    asking = Asking(limits=Limits(remembered=2))
    now = 1_000.0
    asking.door.ids._clock = lambda: now
    asking.post(click("a"), idempotency_key="k1")
    asking.post(click("b"), idempotency_key="k2")
    full = asking.post(click("c"), idempotency_key="k3")
    assert (full.status, full.json["code"], full.headers["retry-after"]) == (503, "ids_full", "60")
    assert asking.post(click("d")).status == 200
    assert asking.post(click("b"), idempotency_key="k2").json["repeated"] is True
    now += 601
    assert "repeated" not in asking.post(click("a"), idempotency_key="k1").json
    assert asking.names() == ["a", "a", "b", "d"]


def test_a_body_may_be_so_large_and_hold_so_many_events() -> None:
    asking = Asking(limits=Limits(body=2_000, events=5))
    assert asking.post("x" * 2_001).json["code"] == "too_large"
    assert asking.post(gzip.compress(b" " * 2_001), content_encoding="gzip").json["code"] == "too_large"
    assert asking.post(gzip.compress(b" " * 10_000_000), content_encoding="gzip").json["code"] == "too_large"
    for kind, body in (("application/json", json.dumps([click()] * 6)), (LINES, lines(*[click()] * 6))):
        assert asking.post(body, kind).json["code"] == "too_many_events"
    assert asking.post(avro([python("a")] * 6), "application/avro").json["code"] == "too_many_events"
    packed = avro([python("a" * 3_000)], "deflate")
    assert len(packed) < 1_500
    assert asking.post(packed, "application/avro").json["code"] == "too_large"
    assert asking.names() == []


def test_avro_of_another_schema_is_held_to_the_events_own() -> None:
    asking = Asking()
    fields = [f for f in FIELDS if f["name"] != "bought"]
    less = {**RAW, "fields": fields}
    found = asking.post(avro([python("a")], schema=less), "application/avro")
    assert (found.status, asking.names()) == (200, ["a"])
    text = {**RAW, "fields": [{**f, "type": "string"} if f["name"] == "price" else f for f in FIELDS]}
    found = asking.post(avro([{**python("b"), "price": "9.5"}], schema=text), "application/avro")
    assert (found.status, found.json["results"][0]["field"]) == (422, "price")
    assert asking.post(avro([python("c")])[:-20], "application/avro").json["code"] == "not_avro"
    assert asking.post(wire(asking, python("c")) + b"x", "application/avro").json["code"] == "not_avro"
    assert asking.names() == ["a"]


@pytest.mark.parametrize("kind", ["long", "double", ["null", "long"]])
def test_the_key_is_that_of_a_row_whatever_its_type(kind: object) -> None:
    field = {"name": "code", "type": kind}
    pipeline = replace(toy("shop"), raw={**RAW, "fields": [*FIELDS, field]}, key="code")
    asking = Asking(in_memory(pipeline))
    asking.post([click("a", code=5), click("b", code=5.0), click("c", code=None)])
    keys = {e.key for entries in asking.topics.log.entries.values() for e in entries}  # type: ignore[attr-defined]
    assert keys == ({b"5.0"} if kind == "double" else {b"5"})
    assert asking.post(click("c", code=None)).json["field"] == "code"


def test_other_paths_and_methods_are_told() -> None:
    asking = Asking()
    assert [asking.get(p).status for p in ("/openapi.json", "/metrics", "/health", "/livez", "/readyz")] == [200] * 5
    assert asking.get("/").status == 404
    assert (asking.get(EVENTS).status, asking.get(EVENTS).headers["allow"]) == (405, "POST")
    assert asking.get("/metrics", "POST").status == 405
    asking.post([click("a"), click("b", price="x")])
    told = asking.get("/metrics").body.decode()
    assert 'headrace_http_requests_total{pipeline="shop",status="207"} 1.0' in told
    assert 'headrace_http_events_total{outcome="refused",pipeline="shop"} 1.0' in told.replace(
        '{pipeline="shop",outcome="refused"}', '{outcome="refused",pipeline="shop"}'
    )
