"""Who may send to Fluentd, and to whom: keys, users, certificates, and settings that cannot be right."""

from __future__ import annotations

import re
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgpack
import pytest

from headrace.config import Fluentd
from headrace.consumers.forward.fluentd.route import FluentdRoute
from headrace.embedded.ports import HOST
from headrace.errors import ConfigError
from tests.certificates import Authority
from tests.fluent_receiver import FluentReceiver, Security
from tests.integration.fluentd import (
    HYGIENE,
    SHORT_S,
    Scripted,
    documents,
    refusal,
    route_to,
)

pytestmark = HYGIENE


@pytest.mark.parametrize("users", [{}, {"ann": "secret", "bob": "other"}])
@pytest.mark.parametrize("keepalive", [True, False])
def test_who_knows_the_key_is_let_in(users: dict[str, str], keepalive: bool) -> None:
    security = Security("key", users, keepalive)
    with (
        FluentReceiver(security=security) as receiver,
        route_to(receiver, shared_key="key", username="bob", password="other") as route,
    ):
        assert route.send(documents(0, 3_000, filling=500)) == []
        assert route.send(documents(3_000, 1)) == []
        assert len(receiver.ids) == 3_001
        assert (receiver.chunks, receiver.connections) == ((3, 1) if keepalive else (3, 3))


def test_a_user_is_named_to_none_that_does_not_ask() -> None:
    with FluentReceiver(security=Security("key")) as receiver, route_to(receiver, shared_key="key") as route:
        assert route.send(documents(0, 1)) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"shared_key": "yek", "username": "ann", "password": "secret"},
            "it refused us, saying 'shared_key mismatch': check fluentd.shared_key, ",
        ),
        (
            {"shared_key": "key", "username": "ann", "password": "wrong"},
            "it refused us, saying 'username/password mismatch': check fluentd.shared_key, fluentd.username and ",
        ),
        ({"shared_key": "key", "username": "eve", "password": "x"}, "it refused us, saying 'username/password mis"),
        ({"shared_key": "key"}, "it asks for a user: set fluentd.username and fluentd.password to one of its <user>"),
        ({}, "it asks for a shared key: set fluentd.shared_key to that of its <security>"),
    ],
)
def test_who_is_not_let_in_learns_what_to_mend(given: dict[str, Any], said: str) -> None:
    with FluentReceiver(security=Security("key", {"ann": "secret"})) as receiver, route_to(receiver, **given) as route:
        refused = refusal(route)
        assert receiver.kept == []
    assert refused.startswith(f"no Fluentd receiver took the documents: {receiver.address}: {said}")


def test_a_receiver_that_asks_for_no_key_is_told_of() -> None:
    with FluentReceiver() as receiver, route_to(receiver, ack_timeout=SHORT_S, shared_key="key") as route:
        assert refusal(route).endswith("it sent no HELO in time: has it a <security>? If not, unset fluentd.shared_key")


@pytest.mark.parametrize(
    ("hello", "pong", "said"),
    [
        ([1, 2], None, "it began with what is no HELO: is this the port of a Fluentd with <security>?"),
        (["HELO", {"nonce": b"n"}], ["PONG", True, "", "other", "00"], "it does not know the shared key itself: "),
        (["HELO", {"nonce": b"n"}], ["PONG", True], "it answered our PING with what is no PONG"),
    ],
)
def test_an_impostor_gets_nothing(hello: object, pong: object, said: str) -> None:
    with (
        Scripted(msgpack.packb(pong), first=msgpack.packb(hello)) as receiver,
        route_to(receiver, shared_key="key") as route,
    ):
        assert f"{receiver.address}: {said}" in refusal(route)


def test_over_tls_only_the_right_receiver_is_spoken_to(tmp_path: Path) -> None:
    own, other = Authority(tmp_path / "own"), Authority(tmp_path / "other")
    strangers = Authority(tmp_path / "strangers").server("fluentd.example.org")
    with ExitStack() as stack:
        receiver = stack.enter_context(FluentReceiver(tls=own.server(HOST), security=Security("key")))
        misnamed = stack.enter_context(FluentReceiver(tls=strangers))
        plain = stack.enter_context(FluentReceiver())
        good = stack.enter_context(route_to(receiver, tls=True, ca=own.ca, shared_key="key"))
        assert good.send(documents(0, 3_000, filling=500)) == []
        assert len(receiver.ids) == 3_000

        distrusting = stack.enter_context(route_to(receiver, tls=True, ca=other.ca, shared_key="key"))
        untrusted = "its certificate is not to be trusted (unable to get local issuer certificate): check fluentd.ca"
        assert untrusted in refusal(distrusting)
        naming = stack.enter_context(route_to(misnamed, tls=True, ca=tmp_path / "strangers" / "ca.pem"))
        assert "its certificate is not to be trusted (IP address mismatch" in refusal(naming)
        to_plain = stack.enter_context(route_to(plain, tls=True, ca=own.ca, ack_timeout=SHORT_S))
        assert "no Fluentd receiver took the documents" in refusal(to_plain)
        in_clear = stack.enter_context(route_to(receiver, ack_timeout=SHORT_S))
        assert "no Fluentd receiver took the documents" in refusal(in_clear)
        assert (len(receiver.ids), misnamed.kept, plain.kept) == (3_000, [], [])


def test_a_receiver_that_asks_for_a_certificate_gets_ours(tmp_path: Path) -> None:
    own = Authority(tmp_path)
    certificate, key = own.client("headrace")
    strict = own.server(HOST)
    strict.load_verify_locations(own.ca)
    strict.verify_mode = ssl.CERT_REQUIRED
    with (
        FluentReceiver(tls=strict) as receiver,
        route_to(receiver, tls=True, ca=own.ca, certificate=certificate, key=key) as known,
        route_to(receiver, tls=True, ca=own.ca) as unknown,
    ):
        assert known.send(documents(0, 10)) == []
        # What it says of that is lost where it closes before it has read all that we wrote.
        alert = r"TLS failed \(.*\): set fluentd.certificate and fluentd.key to what it trusts"
        closed = r"it closed the connection before it acked anything: do TLS, certificates and <security> agree"
        assert re.search(f"{alert}|{closed}", refusal(unknown))
        assert len(receiver.ids) == 10


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"receivers": []},
            "setting 'fluentd.receivers': none is named: set HEADRACE_FLUENTD__RECEIVERS='[\"host:24224\"]', "
            'or receivers = ["host:24224"] under [fluentd] in headrace.toml',
        ),
        ({"receivers": ["fluentd"]}, "setting 'fluentd.receivers': 'fluentd' is not host:port, as in "),
        ({"receivers": ["a:1", "b:0"]}, "setting 'fluentd.receivers': 'b:0' is not host:port, as in "),
        ({"receivers": ["a:65536"]}, "setting 'fluentd.receivers': 'a:65536' is not host:port, as in "),
        ({"receivers": ["http://a:1"]}, "setting 'fluentd.receivers': 'http://a:1' is not host:port, as in "),
        ({"receivers": ["::1:24224"]}, "setting 'fluentd.receivers': '::1:24224' is not host:port, as in "),
        ({"ack_timeout": 0}, "setting 'fluentd.ack_timeout': 0 is no time to wait: give seconds"),
        ({"username": "ann"}, "setting 'fluentd.username': Fluentd asks for names in <security> only, "),
        ({"ca": "ca.pem"}, "setting 'fluentd.ca': it says nothing without TLS: set fluentd.tls = true"),
        ({"tls": True, "key": "k"}, "setting 'fluentd.certificate': a certificate and its key go together: "),
        ({"tls": True, "ca": "none.pem"}, "setting 'fluentd.ca': none.pem cannot be read: No such file or directory"),
        ({"tls": True, "ca": "empty.pem"}, "setting 'fluentd.ca': empty.pem holds no certificates in PEM form ("),
        (
            {"tls": True, "certificate": "none.pem", "key": "empty.pem"},
            "setting 'fluentd.certificate': none.pem cannot be read: No such file or directory",
        ),
        (
            {"tls": True, "certificate": "empty.pem", "key": "empty.pem"},
            "setting 'fluentd.key': empty.pem and empty.pem are not a certificate and its private key, without a pass",
        ),
    ],
)
def test_a_wrong_setting_is_named(
    given: dict[str, object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.pem").touch()
    with pytest.raises(ConfigError) as raised:
        FluentdRoute(Fluentd.model_validate({"receivers": ["a:24224"], **given}))
    assert str(raised.value).startswith(said)
    assert raised.value.exit_code == 2
