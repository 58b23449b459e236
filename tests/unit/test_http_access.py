"""Who may send over HTTP, and how much: API keys, OIDC tokens, rates, concurrency, a server that others can reach."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

from headrace.errors import ConfigError
from headrace.producers.http.auth import Auth, read_keys
from headrace.producers.http.limits import Limits, Rates
from headrace.producers.http.oidc import Oidc
from headrace.producers.http.problem import Problem
from headrace.producers.http.server import Access
from tests.unit.asking import EVENTS, Asking, click

FILE = """
[keys.shop]
sha256 = "{shop}"
[keys.other]
sha256 = "{other}"
pipelines = ["flights"]
"""


def keys_file(folder: Path, text: str = "") -> Path:
    file = folder / "keys.toml"
    hashed = {name: hashlib.sha256(f"{name}-key".encode()).hexdigest() for name in ("shop", "other")}
    file.write_text(text or FILE.format(**hashed))
    return file


def test_an_api_key_says_who_sends_and_to_which_pipelines(tmp_path: Path) -> None:
    asking = Asking(auth=Auth(read_keys(keys_file(tmp_path)), None))
    assert asking.post(click("a"), authorization="Bearer shop-key").status == 200
    assert asking.post(click("b"), x_api_key="shop-key").status == 200
    for headers in ({}, {"authorization": "Bearer no"}, {"authorization": "Basic shop-key"}, {"x_api_key": "x"}):
        found = asking.post(click("c"), **headers)
        assert (found.status, found.headers["www-authenticate"]) == (401, "Bearer")
    assert asking.post(click("c"), x_api_key="other-key").status == 403
    assert asking.names() == ["a", "b"]
    assert asking.get("/livez").status == 200


def test_an_id_is_its_callers_own(tmp_path: Path) -> None:
    text = keys_file(tmp_path).read_text().replace("flights", "shop")
    asking = Asking(auth=Auth(read_keys(keys_file(tmp_path, text)), None))
    for key in ("shop-key", "other-key", "shop-key"):
        assert asking.post(click("a"), x_api_key=key, idempotency_key="k").status == 200
    assert asking.names() == ["a", "a"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1", "give a table [keys.NAME] for each key, and nothing beside them"),
        ("[keys.a]", "[keys.a.sha256]: Field required"),
        ('[keys.a]\nsha256 = "secret"', "[keys.a.sha256]: String should match pattern '^[0-9a-f]{64}$'"),
        (f'[keys.a]\nsha256 = "{"0" * 64}"\n[keys.b]\nsha256 = "{"0" * 64}"', "b and a have one key"),
        (f'[keys."a b"]\nsha256 = "{"0" * 64}"', "'a b' is no name: use letters, digits and . _ - @"),
    ],
)
def test_a_file_of_keys_that_is_wrong_is_told(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as told:
        read_keys(keys_file(tmp_path, text))
    assert str(told.value).endswith(why)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "example.com"])
def test_nobody_is_let_in_unasked_from_other_machines(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="anybody could send"):
        Access().auth(host)
    assert Access(insecure=True).auth(host).open
    assert not Access(keys=keys_file(tmp_path)).auth(host).open
    assert Access().auth("127.0.0.1").open
    assert Access().auth("localhost").open


def test_a_caller_may_send_at_a_rate_and_is_told_when_to_come_again() -> None:
    now = 0.0
    rates = Rates(Limits(rate=10.0, burst_s=2.0), lambda: now)
    rates.check("ann")
    rates.charge("ann", 50)
    with pytest.raises(Problem) as told:
        rates.check("ann")
    assert (told.value.status, dict(told.value.headers)[b"retry-after"]) == (429, b"4")
    rates.check("bob")
    now = 3.1
    rates.check("ann")


def test_requests_over_the_rate_are_answered_429() -> None:
    asking = Asking(limits=Limits(rate=0.01, burst_s=50))
    assert [asking.post(click(str(i))).status for i in range(3)] == [200, 429, 429]
    assert asking.names() == ["0"]


def test_requests_over_those_under_way_are_answered_429() -> None:
    asking = Asking(limits=Limits(concurrent=2))

    async def main() -> list[int]:
        asked = (asking.ask("POST", EVENTS, "", click("a"), {"content-type": "application/json"}) for _ in range(5))
        return [a.status for a in await asyncio.gather(*asked)]

    assert sorted(asking.run(main())) == [200, 200, 429, 429, 429]
    assert asking.names() == ["a", "a"]


class Issuer:
    """An OIDC issuer with a server for its discovery document and its keys."""

    def __init__(self) -> None:
        self.keys: list[Any] = [RSAKey.generate_key(2048, {"kid": "one"})]
        self.asked: list[str] = []
        issuer = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                told: Any = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks"}
                if self.path == "/jwks":
                    told = KeySet(issuer.keys).as_dict(private=False)
                body = json.dumps(told).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def token(self, key: Any = None, algorithm: str = "RS256", kid: str = "", **claims: object) -> str:
        now = int(time.time())
        told = {"iss": self.url, "aud": "ingest", "sub": "ann", "exp": now + 60, "scope": "headrace.ingest", **claims}
        key = key or self.keys[-1]
        header = {"alg": algorithm, "kid": kid or getattr(key, "kid", None) or "one"}
        return jwt.encode(header, {k: v for k, v in told.items() if v is not None}, key, algorithms=[algorithm])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.close()


def test_a_token_of_the_issuer_says_who_sends(issuer: Issuer) -> None:
    asking = Asking(auth=Auth(None, Oidc(issuer.url, "ingest")))

    def status(token: str) -> int:
        return asking.post(click("a"), authorization=f"Bearer {token}").status

    assert status(issuer.token()) == 200
    assert status(issuer.token(scope="openid headrace.ingest:shop")) == 200
    assert status(issuer.token(scope=None, scp=["headrace.ingest"])) == 200
    assert issuer.asked == ["/.well-known/openid-configuration", "/jwks"]
    assert status(issuer.token(scope="openid")) == 403
    assert status(issuer.token(scope="headrace.ingest:flights")) == 403
    for wrong in ({"aud": "other"}, {"iss": "http://x"}, {"exp": 1}, {"exp": None}, {"sub": None}, {"aud": None}):
        assert status(issuer.token(**wrong)) == 401
    assert status(issuer.token(RSAKey.generate_key(2048, {"kid": "one"}))) == 401
    secret = OctKey.generate_key(256, {"kid": "one"})
    assert status(issuer.token(secret, "HS256")) == 401
    assert status("a.b.c") == 401
    assert len(issuer.asked) == 2  # what anybody can make up does not send us to the issuer again and again


def test_a_new_key_of_the_issuer_is_fetched(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.producers.http.oidc.SOONEST_S", 0.0)
    asking = Asking(auth=Auth(None, Oidc(issuer.url, "ingest")))
    assert asking.post(click("a"), authorization=f"Bearer {issuer.token()}").status == 200
    issuer.keys = [RSAKey.generate_key(2048, {"kid": "two"})]
    assert asking.post(click("b"), authorization=f"Bearer {issuer.token()}").status == 200


def test_an_issuer_that_is_away_is_told_as_such(issuer: Issuer) -> None:
    token, url = issuer.token(), issuer.url
    issuer.close()
    found = Asking(auth=Auth(None, Oidc(url, "ingest"))).post(click("a"), authorization=f"Bearer {token}")
    assert (found.status, found.json["code"]) == (503, "issuer_away")
