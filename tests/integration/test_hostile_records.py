"""Records that are broken, huge, malicious or merely odd: each has its outcome, and the stream goes on after it."""

from __future__ import annotations

import copy
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from headrace.codec.wire import header
from headrace.config import Settings
from headrace.errors import HeadraceError
from headrace.kafka.log import LARGEST, read_all
from headrace.schema.records import DeadLetter
from headrace.schema.registry import subject_of
from headrace.testing.pipelines import BEGIN, DTYPE, HANG, POISON, RAW, SHAPE
from tests.integration.platform import Platform
from tests.waiting import wait_for

RECURSIVE = {
    "type": "record",
    "name": "Deep",
    "fields": [{"name": "next", "type": ["null", "Deep"], "default": None}],
}
WIDER: dict[str, Any] = copy.deepcopy(RAW)
WIDER["fields"] += [
    {"name": "junk", "type": "bytes", "default": ""},
    {"name": "nulls", "type": {"type": "array", "items": "null"}, "default": []},
]
"""What a hostile producer writes with: it may be registered, as readers pass over what they do not know."""
DEEP: dict[str, Any] = copy.deepcopy(RAW)
DEEP["fields"] += [{"name": "deep", "type": ["null", RECURSIVE], "default": None}]
NOON = int(BEGIN.timestamp() * 1e6)
EMPTY = b"\x00\x00"
"""No junk, no nulls."""


def varint(number: int) -> bytes:
    """Zigzag, as Avro writes it."""
    zigzag = (number << 1) ^ (number >> 63)
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes([*out, zigzag])


def body(click_id: str = "odd", at: int = NOON, price: float = 0.5, bought: bytes = b"\x00") -> bytes:
    """A click in Avro; ``bought`` as raw bytes, which end the record."""
    out = BytesIO()
    schema = fastavro.parse_schema({**RAW, "name": "Click", "fields": RAW["fields"][:-1]})
    click = {"kind": "seen", "click_id": click_id, "user": "user0", "at": at, "price": price}
    fastavro.schemaless_writer(out, schema, click)
    return out.getvalue() + bought


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("toy"), settings, tmp_path)


@pytest.fixture
def ids(platform: Platform) -> tuple[int, int, int]:
    """Schema ids: of the raw topic's own schema, of the hostile producer's, of another topic's."""
    topics = platform.topics
    subject = subject_of(topics.topic("raw"), RAW)
    wider = topics.registry.register(subject, WIDER)
    label = topics.codec("labels").schemas[0]
    return (
        topics.registry.schema_id(subject, RAW),
        wider,
        topics.registry.schema_id(subject_of(topics.topic("labels"), label), label),
    )


def letters(platform: Platform) -> dict[int, str]:
    """Offset of the record -> code, of every dead letter of raw partition 0."""
    found = {}
    for chunk in read_all(platform.log, platform.topics.topic("dead")):
        for _, record in platform.topics.control_records(chunk):
            if isinstance(record, DeadLetter):
                assert record.offset not in found
                found[record.offset] = record.code
    return found


def test_every_broken_record_becomes_a_dead_letter_and_the_others_go_on(
    platform: Platform, ids: tuple[int, int, int]
) -> None:
    own, wider, foreign = ids
    topics = platform.topics
    deep = topics.registry.register(subject_of(topics.topic("raw"), DEEP), DEEP)
    broken: list[tuple[str, bytes | None, str]] = [
        ("null", None, "null_value"),
        ("wrong magic", b"\x01" + header(own)[1:] + body(), "wrong_magic"),
        ("four bytes", b"\x00\x00\x00\x01", "too_short"),
        ("unknown schema id", header(2**31 - 1) + body(), "unknown_schema"),
        ("schema of another subject", header(foreign) + body(), "wrong_record"),
        ("bytes of length 2^40", header(wider) + body() + varint(2**40), "undecodable"),
        ("negative length", header(wider) + body() + varint(-7), "undecodable"),
        ("30 million nulls", header(wider) + body() + b"\x00" + varint(30_000_000) + b"\x00", "undecodable"),
        ("deep recursion", header(deep) + body() + b"\x02" * 100_000 + b"\x00", "wrong_record"),
        ("negative union index", header(own) + body(bought=b"\x01"), "undecodable"),
        ("large union index", header(own) + body(bought=varint(2)), "undecodable"),
        ("trailing bytes", header(own) + body() + b"\x00", "trailing_bytes"),
        ("overlong varint", header(own) + b"\x80" * 10 + b"\x01" + body(), "undecodable"),
        ("cut short", header(own) + body()[:-9], "undecodable"),
        ("NaN", header(own) + body(price=float("nan")), "feature_not_finite"),
        ("Inf", header(own) + body(price=float("inf")), "feature_not_finite"),
        ("the year 9999", header(own) + body(at=253_402_300_799_999_999), "implausible_time"),
        ("a time before all times", header(own) + body(at=-(2**62)), "implausible_time"),
        ("features() raises", header(own) + body(price=POISON), "processor_failed"),
        ("features() never returns", header(own) + body(price=HANG), "processor_failed"),
        ("features() forgets a column", header(own) + body(price=SHAPE), "processor_failed"),
        ("features() gives another type", header(own) + body(price=DTYPE), "processor_failed"),
    ]
    good = [header(own) + body(f"good{i}") for i in range(len(broken) + 1)]
    mixed: list[bytes | None] = [good[0]]
    for (_, value, _), after in zip(broken, good[1:], strict=True):
        mixed += [value, after]
    platform.push_bytes(mixed)
    with platform.running("preprocess-0"):
        rows = platform.wait_rows("features", len(good), seconds=120)
    assert sorted(rows["id"]) == sorted(f"good{i}" for i in range(len(good)))
    due = {2 * i + 1: code for i, (_, _, code) in enumerate(broken)}
    named = {2 * i + 1: name for i, (name, _, _) in enumerate(broken)}
    assert {named[o]: code for o, code in letters(platform).items()} == {named[o]: code for o, code in due.items()}


def test_odd_records_that_are_sound_come_through_as_they_are(platform: Platform, ids: tuple[int, int, int]) -> None:
    own, wider, _ = ids
    junk = LARGEST - 1000
    odd: dict[str, bytes] = {
        "new\nline": header(own) + body("new\nline"),
        "null\x00and bell\x07": header(own) + body("null\x00and bell\x07"),
        "‮right to left \U0001f4a5": header(own) + body("‮right to left \U0001f4a5"),
        "near the limit": header(wider) + body("near the limit") + varint(junk) + b"x" * junk + b"\x00",
        "wider": header(wider) + body("wider") + EMPTY,
        "before 1970": header(own) + body("before 1970", at=-1_000_000_000_000),
    }
    first = header(own) + body("first", at=-1_000_000_000_000)
    platform.push_bytes([first, odd["before 1970"]], key=b"\xff\xfe not UTF-8")
    platform.push_bytes([v for name, v in odd.items() if name != "before 1970"])
    with platform.running("preprocess-0"):
        rows = platform.wait_rows("features", len(odd) + 1)
    assert set(rows["id"]) == {"first", *odd}
    assert letters(platform) == {}


def test_a_record_over_the_limit_is_refused_at_the_door(platform: Platform, ids: tuple[int, int, int]) -> None:
    with pytest.raises(HeadraceError, match="over 3000000 bytes, make it smaller"):
        platform.push_bytes([header(ids[1]) + body("over") + varint(LARGEST) + b"x" * LARGEST + b"\x00"])


def test_repeated_and_unordered_event_times_are_taken_in_log_order(
    platform: Platform, ids: tuple[int, int, int]
) -> None:
    own = ids[0]
    minutes = [0, 5, 5, 2, 7, 0, 16]  # the last but one is seven minutes late, the lateness is ten
    values: list[bytes | None] = [header(own) + body(f"t{i}", NOON + m * 60_000_000) for i, m in enumerate(minutes)]
    values.append(header(own) + body("late", NOON + 5 * 60_000_000))  # eleven minutes behind the newest
    platform.push_bytes(values)
    with platform.running("preprocess-0"):
        rows = platform.wait_rows("features", len(minutes))
        wait_for(lambda: letters(platform), 30, "the letter of the late one")
    assert rows.sort("o")["id"].to_list() == [f"t{i}" for i in range(len(minutes))]
    assert letters(platform) == {len(minutes): "too_late"}


def test_a_function_that_fails_on_all_rows_stops_the_worker_with_the_reason_and_loses_nothing(
    platform: Platform, ids: tuple[int, int, int]
) -> None:
    platform.push_bytes([header(ids[0]) + body(f"p{i}", price=POISON) for i in range(200)])
    worker = platform.start("preprocess-0")
    assert worker.wait(60) == 1
    assert "preprocess failed on" in platform.said("preprocess-0")
    assert "nothing is lost" in platform.said("preprocess-0")
    assert "a price of -1" in platform.said("preprocess-0")
    committed = platform.log.committed(f"{platform.topics.pipeline.name}.preprocess")
    done = sum(committed.values())
    assert len(letters(platform)) == done < 200


class Front:
    """Stands before the real registry and can answer 503 in its place."""

    def __init__(self, url: str) -> None:
        self.away = threading.Event()
        front = self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._pass(None)

            def do_POST(self) -> None:
                self._pass(self.rfile.read(int(self.headers["Content-Length"])))

            def _pass(self, data: bytes | None) -> None:
                kind = {"Content-Type": "application/json"}
                code, answer = 503, b'{"error_code": 50301, "message": "try later"}'
                if not front.away.is_set():
                    try:
                        with urllib.request.urlopen(urllib.request.Request(url + self.path, data, kind)) as real:
                            code, answer = real.status, real.read()
                    except urllib.error.HTTPError as e:
                        code, answer = e.code, e.read()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()


def test_a_registry_that_answers_503_pauses_the_stream_and_costs_no_record(
    platform: Platform, ids: tuple[int, int, int], settings: Settings
) -> None:
    front = Front(settings.registry_url)
    platform.settings = settings.model_copy(update={"registry_url": front.url})
    own, wider, _ = ids
    with platform.running("preprocess-0"):
        platform.push_bytes([header(own) + body("before")])
        platform.wait_rows("features", 1)
        front.away.set()
        platform.push_bytes([header(wider) + body("while") + EMPTY, header(own) + body("behind")])
        wait_for(lambda: "paused, trying again" in platform.said("preprocess-0"), 30, "the worker to say it waits")
        assert platform.rows("features").height == 1
        assert letters(platform) == {}
        front.away.clear()
        rows = platform.wait_rows("features", 3)
    assert rows["id"].to_list() == ["before", "while", "behind"]
    assert letters(platform) == {}
    front.close()
