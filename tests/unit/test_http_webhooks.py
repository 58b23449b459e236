"""Webhooks of strangers: where their fields are, times of their own, signatures, repeats, and files that are wrong."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import ConfigError
from headrace.producers.http.webhook import read_webhook
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import toy
from tests.unit.asking import Asking

PATH = "/v1/pipelines/shop/webhooks/pay"
FIELDS: dict[str, Any] = {
    "kind": {"value": "seen"},
    "click_id": "$.id",
    "user": "$.customer['e-mail']",
    "at": "$.created",
    "price": "$.lines[0].amount",
    "bought": {"path": "$.paid", "default": None},
}
SENT: dict[str, Any] = {
    "id": "p1",
    "customer": {"e-mail": "ann@x"},
    "created": 1_704_067_200,
    "lines": [{"amount": 9.5}],
}


def asking(**more: Any) -> Asking:
    mapping = {"fields": FIELDS, "time_units": {"at": "s"}, **more}
    return Asking(webhooks={"pay": mapping})


def test_the_fields_of_a_webhook_are_found_by_their_paths() -> None:
    one = asking()
    found = one.post({**SENT, "paid": True, "more": [1]}, path=PATH)
    assert (found.status, found.json["offset"]) == (200, 0)
    [row] = one.rows()
    assert {**row, "at": row["at"].isoformat()} == {
        "kind": "seen",
        "click_id": "p1",
        "user": "ann@x",
        "at": "2024-01-01T00:00:00+00:00",
        "price": 9.5,
        "bought": True,
    }


def test_a_field_may_be_computed_in_polars_sql_or_come_from_a_header() -> None:
    one = asking(
        fields={
            **FIELDS,
            "price": {"sql": "cents / 100.0"},
            "click_id": "header:X-Delivery",
            "kind": {"sql": "CASE WHEN type = 'payment' THEN 'result' ELSE 'seen' END"},
        }
    )
    found = one.post({**SENT, "cents": 950, "type": "payment"}, path=PATH, x_delivery="d7")
    assert found.status == 200
    [row] = one.rows()
    assert (row["price"], row["kind"], row["click_id"]) == (9.5, "result", "d7")
    assert one.post({**SENT, "cents": "many", "type": "x"}, path=PATH, x_delivery="d").json["code"] == "misfit"
    assert one.post([], path=PATH, x_delivery="d").json["code"] == "misfit"


def test_each_item_of_an_array_may_be_an_event() -> None:
    one = asking(each="$.lines", fields={**FIELDS, "click_id": "@.sku", "price": "@.amount"}, id="@.sku")
    lines = [{"sku": "a", "amount": 1}, {"sku": "b", "amount": "x"}, {"sku": "c", "amount": 2.5}]
    found = one.post({**SENT, "lines": lines}, path=PATH)
    assert (found.status, [r["status"] for r in found.json["results"]]) == (207, [200, 422, 200])
    assert one.names() == ["a", "c"]


def test_a_repeat_of_a_webhook_is_known_by_its_id() -> None:
    one = asking(id="$.id")
    first = one.post(SENT, path=PATH).json
    assert one.post(SENT, path=PATH).json == {**first, "repeated": True}
    assert one.post({**SENT, "id": None}, path=PATH).json["code"] == "no_id"
    assert one.names() == ["p1"]


@pytest.mark.parametrize(
    ("change", "field"), [({"customer": {}}, "user"), ({"created": "now"}, "at"), ({"lines": []}, "price")]
)
def test_a_webhook_that_does_not_fit_is_refused_by_field(change: dict[str, Any], field: str) -> None:
    one = asking()
    found = one.post({**SENT, **change}, path=PATH)
    assert (found.status, found.json["field"]) == (422, field)
    assert one.names() == []


def test_a_webhook_that_must_be_signed_is_taken_with_its_signature_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAY_SECRET", "s3cret")
    one = asking(signature={"header": "X-Signature", "secret_env": "PAY_SECRET", "prefix": "sha256="})
    body = json.dumps(SENT).encode()
    right = "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert one.post(body, path=PATH, x_signature=right).status == 200
    assert one.post(body + b" ", path=PATH, x_signature=right).json["code"] == "bad_signature"
    assert one.post(body, path=PATH).status == 401
    assert one.names() == ["p1"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "fields: Field required"),
        ("[fields]\nother = '$.a'", "other is no field of the events"),
        ("[fields]\nuser = 'a.b'", "'a.b' is no path"),
        ("[fields]\nuser = '$.a..b'", "'$.a..b' is no path"),
        ("[fields]\nuser = {sql = 'FROM FROM'}", "FROM FROM: "),
        ("[fields]\nuser = {sql = 'a', value = 1}", "give one of path, sql and value"),
        ("[fields]\nuser = '$.a'\n[time_units]\nat = 'h'", "h is no unit of time: use s, ms, us, ns"),
        ("zone = 'Mars'\n[fields]\nuser = '$.a'", "zone: there is no Mars"),
        ("[fields]\nuser = '$.a'\n[signature]\nheader='x'\nsecret_env='NO_SUCH'", "NO_SUCH holds no secret"),
    ],
)
def test_a_mapping_that_is_wrong_is_told(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "pay.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as told:
        read_webhook(in_memory(toy("shop")), file)
    assert str(told.value).startswith(f"webhook {file}: ")
    assert why in str(told.value)
