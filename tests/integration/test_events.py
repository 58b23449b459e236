"""Events of a service on a real Kafka: from many threads and coroutines, with callbacks, headers and timestamps."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from confluent_kafka import KafkaError, Message

import headrace as hr
from headrace.client.async_events import AsyncEventProducer
from headrace.client.events import EventProducer
from headrace.codec.values import record_encoder
from headrace.config import Settings
from headrace.errors import HeadraceError
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import read_all
from headrace.kafka.partitioner import partition_of
from headrace.schema.registry import ConfluentRegistry
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import BEGIN, RAW, toy
from headrace.topics.pipeline_topics import PipelineTopics
from tests.waiting import wait_for

THREADS, EACH = 8, 1500
PARTITIONS = 3
Record = tuple[bytes | None, bytes | None, int]


@pytest.fixture
def topics(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> PipelineTopics:
    """The pipeline's topics, in memory or on Kafka."""
    if getattr(request, "param", "kafka") == "memory":
        return in_memory(toy("shop", PARTITIONS))
    settings: Settings = request.getfixturevalue("settings")
    name = unique("shop")
    found = PipelineTopics(toy(name, PARTITIONS), KafkaLog(settings, name), ConfluentRegistry(settings))
    found.init()
    return found


@pytest.fixture
def client(topics: PipelineTopics, settings: Settings) -> Iterator[hr.Client]:
    s = settings
    with hr.connect(
        topics.pipeline, kafka=s.bootstrap, registry=s.registry_url, state=s.state, properties=s.kafka
    ) as connected:
        yield connected


def click(name: str, user: str) -> dict[str, object]:
    return {"kind": "seen", "click_id": name, "user": user, "at": BEGIN, "price": 1.0, "bought": None}


def stands(topics: PipelineTopics) -> Counter[Record]:
    """Key, value and partition of every record on raw, and how often."""
    return Counter(
        (key, value, chunk.tp.partition)
        for chunk in read_all(topics.log, topics.topic("raw"))
        for key, value in zip(chunk.keys, chunk.values, strict=True)
    )


def expected(topics: PipelineTopics, events: list[dict[str, object]]) -> Counter[Record]:
    header, encode = topics.codec("raw").header(), record_encoder(RAW)
    users = [str(event["user"]).encode() for event in events]
    return Counter(
        (user, header + encode(event), partition_of(user, PARTITIONS))
        for user, event in zip(users, events, strict=True)
    )


def from_threads(send: Callable[[list[dict[str, object]]], None]) -> list[dict[str, object]]:
    """Have 8 threads send 12,000 events, switching as often as can be; gives all."""
    sent = [[click(f"{t}-{i}", f"u{t}-{i % 7}") for i in range(EACH)] for t in range(THREADS)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=send, args=(events,)) for events in sent]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    return [event for events in sent for event in events]


@pytest.mark.parametrize("topics", ["memory", pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
@pytest.mark.parametrize("callbacks", [False, True])
def test_events_of_many_threads_arrive_once_each_with_their_own_key(topics: PipelineTopics, callbacks: bool) -> None:
    producer = EventProducer(topics)
    told: list[Record] = []

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        assert error is None
        told.append((message.key(), message.value(), message.partition() or 0))

    def send(events: list[dict[str, object]]) -> None:
        for event in events:
            producer.send(event, on_delivery=on_delivery if callbacks else None)

    sent = from_threads(send)
    producer.close()
    assert stands(topics) == expected(topics, sent)
    assert Counter(told) == (stands(topics) if callbacks else Counter())


@pytest.mark.parametrize("topics", ["memory", pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)
def test_rows_of_many_threads_arrive_once_each_with_their_own_key(topics: PipelineTopics) -> None:
    producer = EventProducer(topics)

    def send(events: list[dict[str, object]]) -> None:
        frame = pl.DataFrame(events, schema=topics.columns("raw"))
        for start in range(0, len(events), 50):
            producer.send_rows(frame[start : start + 50])

    sent = from_threads(send)
    producer.close()
    assert stands(topics) == expected(topics, sent)


@pytest.mark.kafka
def test_a_callback_comes_without_another_call_and_tells_where_the_event_stands(
    client: hr.Client, topics: PipelineTopics
) -> None:
    told: list[Message] = []
    at = datetime(2024, 5, 1, 12, tzinfo=UTC)
    client.events.send(click("c", "ann"), on_delivery=lambda _, m: told.append(m), headers={"n": "1"}, timestamp=at)
    wait_for(lambda: bool(told), 20, "the callback")
    [message] = told
    partition = partition_of(b"ann", PARTITIONS)
    assert (message.topic(), message.partition(), message.offset()) == (topics.topic("raw"), partition, 0)
    assert message.timestamp()[1] == int(at.timestamp() * 1000)
    after = topics.log.offsets_at(topics.topic("raw"), at + timedelta(milliseconds=1))
    assert after == {p: int(p == partition) for p in range(PARTITIONS)}


@pytest.mark.kafka
def test_a_broker_that_refuses_an_event_is_told(client: hr.Client, topics: PipelineTopics) -> None:
    told: list[str] = []
    client.events.send(
        click("c" * 2_900_000, "ann"),
        on_delivery=lambda e, _: told.append("taken" if e is None else e.name()),
    )
    client.events.flush()
    small = {"max.message.bytes": "2000"}
    topics.log.create_topics({f"{topics.pipeline.name}.small": (1, small)})
    sender = topics.log.sender("small")
    sender.offer(
        f"{topics.pipeline.name}.small",
        b"k",
        bytes(5000),
        on_delivery=lambda e, _: told.append("taken" if e is None else e.name()),
    )
    sender.flush()
    assert told == ["taken", "MSG_SIZE_TOO_LARGE"]


@pytest.mark.kafka
def test_coroutines_send_through_the_clients_own_producer(client: hr.Client, topics: PipelineTopics) -> None:
    events = [click(f"c{i}", f"u{i % 5}") for i in range(500)]

    async def main() -> list[Message]:
        async with client.async_events as door:
            found = await asyncio.gather(*(door.send(event) for event in events))
            one = await door.send(click("alone", "u0"))
        with pytest.raises(HeadraceError, match=r"^this producer is closed"):
            await door.send(click("late", "u0"))
        return [*found, one]

    found = asyncio.run(main())
    assert Counter((m.key(), m.value(), m.partition()) for m in found) == stands(topics)
    assert stands(topics) == expected(topics, [*events, click("alone", "u0")])


@pytest.mark.kafka
def test_a_small_queue_holds_up_and_loses_and_reorders_nothing(topics: PipelineTopics, settings: Settings) -> None:
    few = settings.model_copy(update={"kafka": {**settings.kafka, "queue.buffering.max.messages": "10"}})
    small = PipelineTopics(topics.pipeline, KafkaLog(few, "small"), ConfluentRegistry(settings))
    events = [click(f"{i:03}", "ann") for i in range(1000)]
    with EventProducer(small) as producer:
        for event in events[:500]:
            producer.send(event)

        async def rest() -> None:
            door = AsyncEventProducer(producer)
            await asyncio.gather(*(door.send(event) for event in events[500:]))

        asyncio.run(rest())
    assert stands(topics) == expected(topics, events)
    frames = [topics.codec("raw").decode(c.values).frame() for c in read_all(topics.log, topics.topic("raw"))]
    assert pl.concat(frames)["click_id"].to_list() == [event["click_id"] for event in events]
