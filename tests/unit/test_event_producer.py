"""The producer of events on a log in memory, and on a Kafka that takes nothing: keys, callbacks, waits, its end."""

from __future__ import annotations

import asyncio
import gc
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import KafkaError, Message

import headrace as hr
from headrace.client.async_events import AsyncEventProducer
from headrace.client.events import EventProducer
from headrace.config import Settings
from headrace.errors import HeadraceError, SchemaError, Unavailable
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import read_all
from headrace.schema.registry import MemoryRegistry
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import BEGIN, RAW, toy
from headrace.topics.pipeline_topics import PipelineTopics
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

SHORT_S = 0.2
NULLABLE: dict[str, Any] = {"name": "code", "type": ["null", "long"], "default": 3}


def click(name: str = "c0", user: object = "ann", **more: object) -> dict[str, object]:
    return {"kind": "seen", "click_id": name, "user": user, "at": BEGIN, "price": 1.0, "bought": None, **more}


def keyed_by(field: dict[str, Any]) -> PipelineTopics:
    return in_memory(replace(toy("shop"), raw={**RAW, "fields": [*RAW["fields"], field]}, key=field["name"]))


def keys(topics: PipelineTopics) -> list[bytes | None]:
    return [k for chunk in read_all(topics.log, topics.topic("raw")) for k in chunk.keys]


def rows(topics: PipelineTopics) -> list[str]:
    decoded = [topics.codec("raw").decode(c.values).frame() for c in read_all(topics.log, topics.topic("raw"))]
    return sorted(name for frame in decoded for name in frame["click_id"])


@pytest.fixture
def away() -> PipelineTopics:
    """Topics on a Kafka that nobody answers for, behind a queue of three records."""
    conf = {"queue.buffering.max.messages": "3", "log_level": "0"}
    topics = PipelineTopics(toy("shop"), KafkaLog(Settings(bootstrap="127.0.0.1:1", kafka=conf)), MemoryRegistry())
    topics.registry.register(f"{topics.topic('raw')}-Click", RAW)
    return topics


MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
VIA = {"type": "enum", "name": "Via", "symbols": ["web", "app"]}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        ("string", "schön", "schön"),
        ("long", 5, "5"),
        ("long", 5.0, "5"),
        ("boolean", True, "True"),
        ("double", 2, "2.0"),
        (VIA, "app", "app"),
        (MONEY, Decimal("1.5"), "1.50"),
        (MICROS, "2024-03-01T10:00:00+02:00", "2024-03-01 08:00:00+00:00"),
        (["null", "long"], 7, "7"),
    ],
)
def test_an_event_has_the_key_that_its_row_has(kind: Any, value: object, key: str) -> None:
    topics = keyed_by({"name": "code", "type": kind})
    producer = EventProducer(topics)
    producer.send(click(code=value))
    [chunk] = read_all(topics.log, topics.topic("raw"))
    producer.send_rows(topics.codec("raw").decode(chunk.values).frame())
    assert keys(topics) == [key.encode()] * 2


def test_an_event_without_a_key_is_refused_by_the_key_field() -> None:
    topics = keyed_by(NULLABLE)
    producer = EventProducer(topics)
    with pytest.raises(SchemaError, match=r"^event refused: field code, the pipeline's key, is null$"):
        producer.send(click(code=None))
    with pytest.raises(SchemaError, match=r"^event refused: field code, the pipeline's key, is missing$"):
        producer.send(click())
    producer.send(click(code=1))
    [chunk] = read_all(topics.log, topics.topic("raw"))
    frame = topics.codec("raw").decode(chunk.values).frame()
    with pytest.raises(SchemaError, match=r"^row 1 refused: field code, the pipeline's key, is null$"):
        producer.send_rows(frame.vstack(frame.with_columns(code=pl.lit(None, pl.Int64))))
    assert keys(topics) == [b"1"]


def test_an_event_that_does_not_fit_is_refused_and_none_is_sent() -> None:
    topics = in_memory(toy("shop"))
    producer = EventProducer(topics)
    for event in ({}, click(user=None), click(price="9.5"), click(extra=1), click(at=datetime(2024, 1, 1))):
        with pytest.raises(SchemaError, match=r"^event refused: field (kind|user|price|extra|at) "):
            producer.send(event)
    assert keys(topics) == []


def test_the_callback_tells_where_the_event_is() -> None:
    topics = in_memory(toy("shop", partitions=1))
    told: list[tuple[KafkaError | None, Message]] = []
    producer = EventProducer(topics)
    producer.send(click("c0"))
    at = datetime(2024, 5, 1, 12, tzinfo=UTC)
    producer.send(
        click("c1"), on_delivery=lambda e, m: told.append((e, m)), headers={"trace": "t1", "none": None}, timestamp=at
    )
    [(error, message)] = told
    assert error is None
    assert (message.topic(), message.partition(), message.offset(), message.key()) == ("shop.raw", 0, 1, b"ann")
    assert message.timestamp() == (1, int(at.timestamp() * 1000))
    assert message.headers() == [("trace", "t1"), ("none", None)]
    assert topics.log.offsets_at("shop.raw", at + timedelta(seconds=1)) == {0: 0}


@pytest.mark.parametrize("timestamp", [datetime(2024, 1, 1), True, -1, 0, "2024", datetime(1960, 1, 1, tzinfo=UTC)])
def test_a_timestamp_that_is_none_is_refused(timestamp: Any) -> None:
    topics = in_memory(toy("shop"))
    with pytest.raises(SchemaError, match=r"^timestamp .*: give "):
        EventProducer(topics).send(click(), timestamp=timestamp)
    assert keys(topics) == []


def test_a_full_queue_is_waited_for_so_long_and_the_event_is_not_sent(away: PipelineTopics) -> None:
    producer = EventProducer(away, wait=SHORT_S)
    for i in range(3):
        producer.send(click(f"c{i}"))
    told = (
        r"^the client's queue was full for 0.2 s, as Kafka takes nothing for shop.raw; the event was not sent: "
        r"see that Kafka is up, send more slowly, or raise queue.buffering.max.messages$"
    )
    with pytest.raises(Unavailable, match=told):
        producer.send(click("c3"))
    with pytest.raises(Unavailable, match=r"^3 records were not delivered: no answer from the broker$"):
        producer.flush(0.0)
    with pytest.raises(Unavailable, match="the first of these records were handed over, the rest not"):
        producer.send_rows(away.codec("raw").decode([producer._encode(click())[1]] * 5).frame())


def test_a_closed_producer_takes_nothing(away: PipelineTopics) -> None:
    producer = EventProducer(away, wait=SHORT_S)
    producer.send(click())
    with pytest.raises(Unavailable, match=r"^1 records were not delivered"):
        producer.close(0.0)
    producer.close()
    memory = EventProducer(in_memory(toy("shop")))
    with memory:
        memory.send(click())
    for ended in (producer, memory):
        with pytest.raises(HeadraceError, match=r"^this producer is closed, and nothing was sent"):
            ended.send(click())
        with pytest.raises(HeadraceError, match=r"^this producer is closed, and nothing was sent"):
            ended.send_rows(away.codec("raw").decode([ended._encode(click())[1]]).frame())


def test_a_failed_delivery_is_told_to_the_one_who_asked_though_nobody_polls() -> None:
    conf = {"message.timeout.ms": "100", "log_level": "0"}
    topics = PipelineTopics(toy("shop"), KafkaLog(Settings(bootstrap="127.0.0.1:1", kafka=conf)), MemoryRegistry())
    topics.registry.register("shop.raw-Click", RAW)
    told: list[str] = []
    threads: list[str] = []
    producer = EventProducer(topics)

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        threads.append(threading.current_thread().name)
        told.append("delivered" if error is None else error.name())
        raise ValueError("a callback of the user's fails")

    for _ in range(2):
        producer.send(click(), on_delivery=on_delivery)
    wait_for(lambda: len(told) == 2, 20, "both to be told")
    assert (told, set(threads)) == (["_MSG_TIMED_OUT"] * 2, {"headrace-sender"})
    producer.flush()  # who was told is not told again


def test_the_thread_ends_with_its_producer() -> None:
    before = senders()
    conf = {"message.timeout.ms": "100", "log_level": "0"}
    log = KafkaLog(Settings(bootstrap="127.0.0.1:1", kafka=conf))
    closed, dropped = log.sender("closed"), log.sender("dropped")
    closed.offer("t", b"k", b"v")
    [first] = senders() - before
    dropped.offer("t", b"k", b"v")
    [second] = senders() - before - {first}
    with pytest.raises(Unavailable):
        closed.close()
    wait_for(lambda: first not in senders(), 20, "that of the closed one to end")
    assert second in senders()
    del dropped
    wait_for(lambda: second not in senders(), 20, "that of the dropped one to end, when its record is given up")


def senders() -> set[threading.Thread]:
    gc.collect()
    return {t for t in threading.enumerate() if t.name == "headrace-sender"}


def test_coroutines_send_and_are_told_where_the_event_is() -> None:
    topics = in_memory(toy("shop", partitions=1))

    async def main() -> list[tuple[int | None, int | None]]:
        async with AsyncEventProducer(EventProducer(topics)) as events:
            found = await asyncio.gather(*(events.send(click(f"c{i}"), headers={"i": str(i)}) for i in range(20)))
            with pytest.raises(SchemaError, match="field user"):
                await events.send(click(user=None))
            await events.flush()
        with pytest.raises(HeadraceError, match="closed"):
            await events.send(click())
        return [(m.partition(), m.offset()) for m in found]

    assert asyncio.run(main()) == [(0, i) for i in range(20)]  # in the order in which they were asked for
    assert rows(topics) == sorted(f"c{i}" for i in range(20))


def test_a_full_queue_holds_up_its_coroutine_and_not_the_event_loop(away: PipelineTopics) -> None:
    async def main() -> tuple[list[str], int]:
        events = AsyncEventProducer(EventProducer(away, wait=SHORT_S))
        sends = [asyncio.create_task(events.send(click(f"c{i}"))) for i in range(3)]
        for _ in range(5):
            await asyncio.sleep(0)
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0)

        heart = asyncio.create_task(beat())
        with pytest.raises(Unavailable, match="the event was not sent"):
            await events.send(click("c3"))
        heart.cancel()
        for send in sends:
            send.cancel()
        told = await asyncio.gather(*sends, return_exceptions=True)
        return [type(t).__name__ for t in told], beats

    told, beats = asyncio.run(main())
    assert told == ["CancelledError"] * 3
    assert beats > 10


def test_a_coroutine_is_told_of_a_failed_delivery_and_a_cancelled_one_is_not_missed() -> None:
    conf = {"message.timeout.ms": "100", "log_level": "0"}
    topics = PipelineTopics(toy("shop"), KafkaLog(Settings(bootstrap="127.0.0.1:1", kafka=conf)), MemoryRegistry())
    topics.registry.register("shop.raw-Click", RAW)

    async def main() -> None:
        events = AsyncEventProducer(EventProducer(topics))
        cancelled = asyncio.create_task(events.send(click()))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cancelled, 0.001)
        with pytest.raises(Unavailable, match=r"^the event was not delivered to shop.raw: .*timed out"):
            await events.send(click())
        await events.close()

    asyncio.run(main())


def test_a_client_waits_as_its_settings_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_FULL_QUEUE_S", "7.5")
    with hr.connect(toy("shop"), kafka="127.0.0.1:1", registry="http://127.0.0.1:1") as client:
        assert client.events._wait == 7.5
        assert client.async_events._events is client.events


def test_threads_lose_double_and_mix_nothing() -> None:
    topics = in_memory(toy("shop"))
    producer = EventProducer(topics)
    sent = [[click(f"{t}-{i}", f"u{t}") for i in range(100)] for t in range(4)]

    def send(events: list[dict[str, object]]) -> None:
        for event in events:
            producer.send(event)

    threads = [threading.Thread(target=send, args=(events,)) for events in sent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(topics) == sorted(str(e["click_id"]) for events in sent for e in events)
