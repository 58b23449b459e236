"""Credentials while a worker runs: files that are renewed, and a broker that says no for a moment."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from headrace.errors import ConfigError
from headrace.kafka.client_errors import AT_THE_DOOR, Door
from headrace.worker import renewal
from headrace.worker.renewal import Renewal, credential_files


def test_the_files_that_clients_read_are_known_by_their_properties() -> None:
    given = {
        "ssl.ca.location": "ca.pem",
        "ssl.certificate.location": "own.pem",
        "ssl.key.location": "own.key",
        "ssl.keystore.location": "own.p12",
        "ssl.endpoint.identification.algorithm": "https",
        "sasl.username": "ann",
    }
    assert [str(file) for file in credential_files(given)] == ["ca.pem", "own.pem", "own.key", "own.p12"]


def test_a_renewed_file_is_told_once_it_can_be_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "LOOK_S", 0.001)
    one, two = tmp_path / "one.pem", tmp_path / "two.pem"
    one.write_text("a")
    two.write_text("b")
    told = threading.Event()
    looking = Renewal([one, two], told.set)
    looking.start()
    one.write_text("a")  # the same again
    assert not told.wait(0.1)
    two.unlink()
    assert not told.wait(0.1)
    two.write_text("c")
    assert told.wait(20)
    assert looking.seen


@pytest.mark.parametrize("code", sorted(AT_THE_DOOR))
def test_who_was_let_in_before_knocks_again_for_a_while_and_others_are_refused(code: int) -> None:
    error, now = KafkaError(code, "no"), [100.0]
    with pytest.raises(ConfigError):
        Door().passing(error)
    known = Door(lambda: now[0])
    for knocks in ((100.0, 130.0, 159.0), (200.0, 259.0)):
        known.open()
        for now[0] in knocks:
            known.passing(error)
    now[0] = 261.0
    with pytest.raises(ConfigError, match="TLS" if code == KafkaError._SSL else "credentials"):
        known.passing(error)
    with pytest.raises(ConfigError, match="no right to it"):
        known.passing(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no"))
