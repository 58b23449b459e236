"""The route to Fluentd against the OpenTelemetry collector's receiver, which others wrote and which gets killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest

from headrace.config import Fluentd
from headrace.consumers.forward.fluentd.route import FluentdRoute
from headrace.consumers.forward.route import Documents
from headrace.embedded.ports import HOST
from headrace.errors import Unavailable
from tests.collector import BUILD_S, Collector, built
from tests.integration.fluentd import HYGIENE
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(BUILD_S + 60),
    *HYGIENE,
]

BATCH = 500
FIRST_US = 1_357_016_400_123_456


def documents(first: int) -> Documents:
    ids = [f"flights.predictions-0-{i}" for i in range(first, first + BATCH)]
    times = np.arange(first, first + BATCH, dtype=np.int64) + FIRST_US
    bodies = [
        orjson.dumps(
            {"@id": i, "@offset": place, "chance": 0.5, "largest": 2**63 - 1, "note": "wind\x00 å", "x": "x" * 300}
        )
        for place, i in enumerate(ids, first)
    ]
    targets = ["flights-predictions.1"] * BATCH
    return Documents("predictions", "headrace.flights.predictions", ids, targets, times, bodies)


@pytest.fixture(scope="module")
def program() -> Path:
    return built()


@pytest.fixture
def collector(program: Path, tmp_path: Path) -> Iterator[Collector]:
    collector = Collector(program, tmp_path)
    collector.start()
    yield collector
    collector.close()


@pytest.fixture
def route(collector: Collector, request: pytest.FixtureRequest) -> Iterator[FluentdRoute]:
    route = FluentdRoute(Fluentd(receivers=[f"{HOST}:{collector.port}"], ack_timeout=10, compress=request.param))
    yield route
    route.close()


@pytest.mark.parametrize("route", [False, True], ids=["packed", "gzip"], indirect=True)
def test_records_arrive_with_their_fields_and_times(collector: Collector, route: FluentdRoute) -> None:
    sent = [documents(first) for first in range(0, 5_000, BATCH)]
    for batch in sent:
        assert route.send(batch) == []
    kept = sorted(collector.records(), key=lambda record: int(str(record["@offset"])))
    assert kept == [
        {**orjson.loads(body), "@index": target, "time": at * 1000, "fluent.tag": batch.tag}
        for batch in sent
        for body, target, at in zip(batch.bodies, batch.targets, batch.times.tolist(), strict=True)
    ]


@pytest.mark.parametrize("route", [False, True], ids=["packed", "gzip"], indirect=True)
def test_nothing_is_lost_when_the_collector_is_killed(collector: Collector, route: FluentdRoute) -> None:
    taken: list[Documents] = []
    outages: list[str] = []
    enough = threading.Event()

    def send_on() -> None:
        while not enough.is_set():
            batch = documents(len(taken) * BATCH)
            try:
                assert route.send(batch) == []
                taken.append(batch)
            except Unavailable as e:
                outages.append(str(e))

    sending = threading.Thread(target=send_on)
    sending.start()
    try:
        for kills in range(1, 4):
            target = len(taken) + 4
            wait_for(lambda: len(taken) >= target, 30, "some batches are taken")  # noqa: B023
            collector.kill()
            wait_for(lambda: len(outages) >= kills, 30, "the outage is noticed")  # noqa: B023
            collector.start()
        target = len(taken) + 4
        wait_for(lambda: len(taken) >= target, 30, "batches are taken again")
    finally:
        enough.set()
        sending.join()
    assert {record["@id"] for record in collector.records()} == {i for batch in taken for i in batch.ids}
