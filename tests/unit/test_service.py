"""What a worker says of itself over HTTP: /health, and /metrics as OpenMetrics has them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from headrace.kafka.log import Chunk, Output, TopicPartition
from headrace.kafka.memory import MemoryLog
from headrace.worker.health import STALLED, Watchdog
from headrace.worker.loop import ExactlyOnceLoop, LoopConfig
from headrace.worker.processor import Figure
from headrace.worker.service import serve_status
from headrace.worker.status import Histogram, LoopStatus, Recent, Waiting
from tests.toys import DEAD, PassThrough, dead_letter

LABELS = {"pipeline": "p", "processor": "pass", "worker": "w"}


class Telling(PassThrough):
    """Has figures of its own."""

    def figures(self) -> list[Figure]:
        return [
            Figure("calls", "Calls of process.", {"kind": "all"}, len(self.calls), counts=True),
            Figure("size", "Records of a call.", {"call": "first"}, self.calls[0]),
            Figure("size", "Records of a call.", {"call": "last"}, self.calls[-1]),
        ]


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog()
    log.create_topics({name: (2, {}) for name in ("in", "out", DEAD)})
    return log


@pytest.fixture
def loop(log: MemoryLog) -> Iterator[ExactlyOnceLoop]:
    """A loop that has passed two records on and dead-lettered a third."""

    def letter(chunk: Chunk, trace: str) -> Output:
        return replace(dead_letter(chunk, trace), codes={"processor_failed": 1})

    put(log, [b"a", b"b", b"bad"])
    made = ExactlyOnceLoop(log, Telling("in", "out"), LoopConfig("g", "w", commit_interval=0.0, batch=2), letter)
    while sum(made.status.positions.values()) < 3:
        made.turn()
    made.turn()
    yield made
    made.run(until=lambda: True)


def put(log: MemoryLog, values: list[bytes]) -> None:
    writer = log.writer("test")
    writer.begin()
    writer.write(Output(TopicPartition("in", 1), [None] * len(values), values))
    writer.commit()
    writer.close()


def test_a_histogram_counts_each_value_once() -> None:
    found = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 99.0):
        found.observe(value)
    assert (found.counts, found.total, found.cumulative()) == ([2, 1, 1], 102.0, [("1.0", 2), ("2.0", 3), ("+Inf", 4)])


@pytest.fixture
def url(loop: ExactlyOnceLoop) -> Iterator[str]:
    server = serve_status(loop, LABELS, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_metrics_say_what_the_loop_and_the_processor_did(loop: ExactlyOnceLoop, url: str) -> None:
    loop.status.ends = {TopicPartition("in", 0): 0, TopicPartition("in", 1): 10}
    loop.status.reached = {}
    answer = httpx2.get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}  # type: ignore[no-untyped-call]
    samples = {
        (s.name, *(v for k, v in s.labels.items() if k not in LABELS)): s.value
        for f in families.values()
        for s in f.samples
    }
    assert all(LABELS.items() <= s.labels.items() for f in families.values() for s in f.samples)
    timed = {"headrace_process_seconds", "headrace_commit_seconds", "headrace_batch_records"}
    assert {k: v for k, v in samples.items() if k[0].rpartition("_")[0] not in timed} == {
        ("headrace_records_in_total", "in"): 3,
        ("headrace_records_out_total", "out"): 2,
        ("headrace_records_out_total", DEAD): 1,
        ("headrace_dead_letters_total", "processor_failed"): 1,
        ("headrace_commits_total",): loop.status.commits,
        ("headrace_aborts_total",): 0,
        ("headrace_failures_total",): 1,
        ("headrace_ready",): 1,
        ("headrace_position", "0", "in"): 0,
        ("headrace_position", "1", "in"): 3,
        ("headrace_lag", "0", "in"): 0,
        ("headrace_lag", "1", "in"): 7,
        ("headrace_calls_total", "all"): 2,
        ("headrace_size", "first"): 2,
        ("headrace_size", "last"): 1,
    }
    assert (samples["headrace_batch_records_count",], samples["headrace_batch_records_sum",]) == (2, 3)
    assert samples["headrace_batch_records_bucket", "1.0"] == 1
    assert samples["headrace_commit_seconds_count",] == loop.status.commits


def test_health_says_whether_it_works_and_why_not(loop: ExactlyOnceLoop, url: str) -> None:
    assert (httpx2.get(f"{url}/health").status_code, httpx2.get(f"{url}/else").status_code) == (200, 404)
    letters = {"of_last": 3, "processor_failed": 1}
    assert httpx2.get(f"{url}/health").json() == {"status": "ready", "why": "", "dead_letters": letters, **LABELS}
    loop.status.paused = "Kafka is away"
    paused = httpx2.get(f"{url}/health")
    assert (paused.status_code, paused.json()["status"], paused.json()["why"]) == (503, "paused", "Kafka is away")
    loop.status.paused, loop.status.ready = "", False
    assert httpx2.get(f"{url}/health").json()["status"] == "starting"


def test_livez_and_readyz_are_two_things(loop: ExactlyOnceLoop, url: str) -> None:
    def asked() -> tuple[int, int, str]:
        live, ready = httpx2.get(f"{url}/livez"), httpx2.get(f"{url}/readyz")
        return live.status_code, ready.status_code, ready.text

    assert asked() == (200, 200, "ok\n")
    loop.status.paused = "the registry is away"
    assert asked() == (200, 503, "the registry is away\n")
    loop.status.paused, loop.status.rebuilding = "", (25, 100)
    assert asked() == (200, 503, "its state is rebuilt: 25 of 100 offsets (25%)\n")
    loop.status.rebuilding, loop.status.turned = None, time.monotonic() - 1_000
    assert asked() == (503, 200, "ok\n")
    assert httpx2.get(f"{url}/health").json()["status"] == "stalled"


def test_what_waits_for_what_and_since_when_is_told(loop: ExactlyOnceLoop, url: str) -> None:
    one, zero = TopicPartition("in", 1), TopicPartition("in", 0)
    loop.status.waiting[one] = Waiting("model abc is not loaded yet", time.monotonic() - 30)
    found = httpx2.get(f"{url}/health")
    told = found.json()
    (waiting,) = told["waiting"]
    assert (found.status_code, told["status"], told["why"]) == (503, "waiting", "in[1]: model abc is not loaded yet")
    assert (waiting["partition"], waiting["why"], waiting["seconds"] >= 30) == (
        "in[1]",
        "model abc is not loaded yet",
        True,
    )
    (line,) = [n for n in httpx2.get(f"{url}/metrics").text.splitlines() if n.startswith("headrace_waiting_seconds{")]
    named = 'partition="1",pipeline="p",processor="pass",topic="in",why="model abc is not loaded yet",worker="w"'
    assert line.startswith(f"headrace_waiting_seconds{{{named}}} ")
    assert float(line.rpartition(" ")[2]) >= 30
    assert httpx2.get(f"{url}/readyz").status_code == 200  # the other partition flows
    loop.status.waiting[zero] = Waiting("there is no model", time.monotonic())
    assert httpx2.get(f"{url}/readyz").status_code == 503
    loop.status.waiting.clear()


def test_a_large_share_of_dead_letters_is_told_with_the_command_that_shows_more(
    loop: ExactlyOnceLoop, url: str
) -> None:
    loop.status.recent = Recent()
    loop.status.recent.note(80, {"feature_not_finite": 60, "too_late": 2})
    told = httpx2.get(f"{url}/health").json()
    assert (told["status"], told["why"]) == (
        "failing",
        "78% of the last 80 records became dead letters, most of them feature_not_finite: "
        "see `headrace dead list PIPELINE`",
    )
    assert told["dead_letters"] == {"of_last": 80, "feature_not_finite": 60, "too_late": 2}
    loop.status.recent.note(20_000, {})
    assert httpx2.get(f"{url}/health").json()["status"] == "ready"


def test_a_watchdog_tells_where_a_loop_stands_and_ends_the_process(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[int] = []
    status = LoopStatus()
    dog = Watchdog(status, 900.0, ended.append)
    dog.look()  # it has not begun
    for idle, told, ends in ((5.0, 0, False), (200.0, 1, False), (901.0, 1, True)):
        status.turned = time.monotonic() - idle
        dog.look()
        dog.look()  # the same turn is told of once
        spoken = sum("every thread stands here" in message for message in caplog.messages)
        shown = "in test_a_watchdog_tells_where" in capfd.readouterr().err
        assert (spoken, shown, bool(ended)) == (told, bool(told), ends)
        caplog.clear()
    assert set(ended) == {STALLED}


def test_at_rest_there_is_no_lag(log: MemoryLog, loop: ExactlyOnceLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.worker.loop.ENDS_S", 0.0)
    loop._ends_due = 0.0
    loop.turn()
    assert loop.status.lag() == {TopicPartition("in", 0): 0, TopicPartition("in", 1): 0}
    assert loop.status.ends[TopicPartition("in", 1)] == 4  # the marker of the transaction that wrote three
