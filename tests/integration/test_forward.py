"""What leaves the log is in the search engine, each record once, as the log says it."""

from __future__ import annotations


from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.audit.report import Report
from headrace.config import Search, Settings
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.log.base import read_all
from headrace.pipeline import FORWARDED
from streams.forward.documents import document_id
from streams.forward.engine import Engine
from streams.forward.indexed import indexed
from streams.forward.shape import shapes
from tests.integration.platform import Platform
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def searching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A search engine. The Kafka beside it is not used."""
    state = tmp_path_factory.mktemp("searching") / "state"
    with Stack(state, registry=False, search=True, layout=Layout(quick=True)) as stack:
        yield stack


@pytest.fixture
def engine(searching: Stack) -> Iterator[Engine]:
    engine = Engine(Search(url=searching.search_url))
    yield engine
    engine.close()


def ids_of(engine: Engine, alias: str) -> list[str]:
    """Every id under an alias, sorted."""
    engine.client.indices.refresh(index=alias, ignore_unavailable=True)
    found = engine.client.search(index=alias, size=10_000, source=False, ignore_unavailable=True, track_total_hits=True)
    assert found["hits"]["total"]["value"] < 10_000
    return sorted(hit["_id"] for hit in found["hits"]["hits"])


def coordinates(platform: Platform, name: str) -> list[str]:
    """The ids that a topic's records must have, sorted."""
    return sorted(
        document_id(*chunk.tp, offset)
        for chunk in read_all(platform.log, platform.topics.topic(name))
        for offset in chunk.offsets.tolist()
    )


def passed_on(platform: Platform) -> bool:
    """Whether forward has consumed all there is."""
    committed = platform.log.committed(f"{platform.topics.pipeline.name}.forward")
    return all(
        committed.get(chunk.tp, 0) >= chunk.next_offset
        for name in FORWARDED
        for chunk in read_all(platform.log, platform.topics.topic(name))
    )


def judged(platform: Platform, engine: Engine) -> Report:
    report = Report()
    indexed(platform.topics, shapes(platform.topics.pipeline, ""), engine, report)
    return report


def source_of(engine: Engine, alias: str, id_: str) -> dict[str, Any]:
    found = engine.client.search(index=alias, query={"ids": {"values": [id_]}})
    return dict(found["hits"]["hits"][0]["_source"])


def test_the_index_holds_what_the_topics_hold(good: Platform, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_SEARCH__URL", engine.url)
    with good.running("forward-0"):
        wait_for(lambda: passed_on(good), 60, "all to be passed on")
    name = good.topics.pipeline.name
    assert {n: ids_of(engine, f"{name}-{n}") for n in FORWARDED} == {n: coordinates(good, n) for n in FORWARDED}
    report = judged(good, engine)
    assert (report.violations, report.notes) == ([], {})
    rows = good.rows("predictions")
    row = rows.row(0, named=True)
    scored = good.rows("features").filter(p=row["p"], o=row["offset"]).row(0, named=True)
    id_ = document_id(good.topics.topic("predictions"), row["p"], row["o"])
    found = source_of(engine, f"{name}-predictions", id_)
    assert found == {
        "id": row["id"],
        "key": row["key"],
        "event_time": f"{row['event_time']:%Y-%m-%dT%H:%M:%S.%fZ}",
        "partition": row["partition"],
        "offset": row["offset"],
        "model_id": row["model_id"],
        "marker_offset": row["marker_offset"],
        "route": row["route"],
        "outputs": [pytest.approx(score, rel=1e-6) for score in row["outputs"]],
        "runtime": row["runtime"],
        "features": {n: scored[n] for n in good.topics.pipeline.feature_columns},
        "@id": id_,
        "@topic": good.topics.topic("predictions"),
        "@partition": row["p"],
        "@offset": row["o"],
        "@record": "headrace.Prediction",
        "@time": f"{row['event_time']:%Y-%m-%dT%H:%M:%S.%fZ}",
    }
