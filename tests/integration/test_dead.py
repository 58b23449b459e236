"""Dead letters: shown with what their bytes still say, and retried, each once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.cli import app
from headrace.client.retry import retry
from headrace.codec.wire import header
from headrace.config import Settings
from headrace.errors import ConfigError, HeadraceError
from headrace.kafka.coordinate import Coordinate
from headrace.query.audit.audit import audit
from headrace.query.dead.letters import Letters, dead_letters
from headrace.query.dead.partial import decode_partly
from headrace.runner.recompute import recompute
from headrace.schema.registry import subject_of
from headrace.testing.pipelines import RAW, REFERENCE
from tests.integration.platform import Platform
from tests.integration.test_hostile_records import body, varint
from tests.waiting import wait_for


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("toy"), settings, tmp_path)


def letters_of(platform: Platform, records: list[bytes | None]) -> Letters:
    """Push records that nothing can be made of, and wait for their letters."""
    platform.push_bytes(records)
    with platform.running("preprocess-0"):
        wait_for(lambda: len(dead_letters(platform.topics).letters) >= len(records), 60, "the letters")
    return dead_letters(platform.topics)


def own_header(platform: Platform) -> bytes:
    topics = platform.topics
    return header(topics.registry.schema_id(subject_of(topics.topic("raw"), RAW), RAW))


def test_a_letter_is_decoded_as_far_as_it_goes(platform: Platform) -> None:
    head = own_header(platform)
    sound = body("c1", price=0.25)
    cut = head + sound[: sound.index(b"user0") + 3]
    union = head + sound[:-1] + varint(7)
    trailing = head + sound + b"\x00"
    registry = platform.topics.registry
    partial = decode_partly(cut, registry)
    assert (partial.fields, partial.failed) == ({"kind": "seen", "click_id": "c1"}, "user")
    assert partial.failed_at == len(head) + sound.index(b"user0")
    assert partial.schema.startswith("Click (schema ")
    partial = decode_partly(union, registry)
    assert partial.failed == "bought"
    assert list(partial.fields) == ["kind", "click_id", "user", "at", "price"]
    assert partial.fields["price"] == 0.25
    partial = decode_partly(trailing, registry)
    assert (partial.failed, partial.failed_at) == ("", len(head) + len(sound))
    assert partial.fields["bought"] is None
    assert decode_partly(None, registry).reason == "the value is null"
    assert decode_partly(b"\x07nonsense", registry).reason == "it does not begin with a Confluent header"
    assert decode_partly(header(2**31 - 1) + b"x", registry).reason == f"the registry knows no schema {2**31 - 1}"


def test_a_retried_record_is_processed_again_leaves_a_trace_and_is_not_retried_twice(platform: Platform) -> None:
    head = own_header(platform)
    found = letters_of(platform, [head + body("late", at=-(2**61)), head + body()[:-9]])
    places = list(found.letters)
    traces = retry(platform.topics, places, "ann")
    after = dead_letters(platform.topics, settled=True)
    assert list(after.retries.values()) == traces
    assert set(after.retries) == set(places)
    for trace, place in zip(traces, places, strict=True):
        assert (trace.topic, trace.partition) == (found[place].topic, found[place].partition)
    with pytest.raises(ConfigError, match=f"dead letter {places[0]} was retried before: by ann at .*, to "):
        retry(platform.topics, [places[0]], "bob")
    with platform.running("preprocess-0"):
        wait_for(lambda: len(dead_letters(platform.topics).letters) == 4, 60, "the records to fail once more")
    again = dead_letters(platform.topics)
    assert sorted(d.code for d in again.letters.values()) == ["implausible_time"] * 2 + ["undecodable"] * 2
    assert {d.offset for d in again.letters.values()} >= {t.offset for t in traces}
    assert audit(platform.topics, recompute).violations == []


def test_of_two_who_retry_at_once_one_is_refused(platform: Platform) -> None:
    found = letters_of(platform, [own_header(platform) + body()[:-9]] * 20)
    refused: list[HeadraceError] = []
    begin = threading.Barrier(2)

    def go(name: str) -> None:
        begin.wait()
        try:
            retry(platform.topics, found.letters, name)
        except HeadraceError as e:
            refused.append(e)

    threads = [threading.Thread(target=go, args=(name,)) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    raw = platform.log.bounds(platform.topics.topic("raw")).values()
    assert len(dead_letters(platform.topics, settled=True).retries) == 20
    assert sum(end for _, end in raw) in (41, 42)  # forty records, and the markers of the transactions


def test_what_cannot_be_put_back_is_refused(platform: Platform) -> None:
    letters_of(platform, [None])
    with pytest.raises(ConfigError, match="there is no dead letter at 2:99"):
        retry(platform.topics, [Coordinate(2, 99)], "ann")
    with pytest.raises(ConfigError, match="17: name a dead letter as"):
        Coordinate.parse("17", "a dead letter", "headrace dead list")


def test_the_commands_list_show_and_retry(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    found = letters_of(platform, [None, own_header(platform) + body()[:-9]])
    monkeypatch.setattr("headrace.testing.pipelines.pipeline", platform.topics.pipeline)
    where = ["--kafka", platform.settings.bootstrap, "--registry", platform.settings.registry_url]
    where += ["--state", str(platform.settings.state)]
    place = next(str(p) for p, d in found.letters.items() if d.code == "undecodable")

    def run(*args: str) -> str:
        done = CliRunner().invoke(app, ["dead", args[0], REFERENCE, *args[1:], *where])
        assert done.exit_code == 0, done.output
        return done.stdout

    rows = json.loads(run("list", "--json"))
    assert {(r["stage"], r["code"], r["retried"]) for r in rows} == {
        ("preprocess", "null_value", False),
        ("preprocess", "undecodable", False),
    }
    shown = json.loads(run("show", place, "--json"))
    assert list(shown["fields"]) == ["kind", "click_id", "user", "at"]
    assert shown["failed"] == "price"
    assert "fails at byte" in run("show", place)
    assert "1 records put back" in run("retry", place)
    assert "0 records put back" in run("retry", "--code", "undecodable")
    assert json.loads(run("show", place, "--json"))["retried"]["letter_offset"] == Coordinate.parse(place).offset
