"""What leaves the log is in the search engine, each record once, as the log says it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from headrace.codec.encoder import ColumnValues
from headrace.config import Search, Settings
from headrace.consumers.forward.documents import document_id
from headrace.consumers.forward.engine import Engine
from headrace.consumers.forward.indexed import indexed
from headrace.consumers.forward.shape import shapes
from headrace.declare.forward import FORWARDED
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.kafka.log import Output, read_all
from headrace.query.audit.report import Report
from headrace.schema.records import Rejection
from headrace.testing.pipelines import REFERENCE, clicks
from headrace.topics.control import write_control
from headrace.topics.pipeline_topics import PipelineTopics
from tests.integration.conftest import everything
from tests.integration.platform import Platform
from tests.waiting import wait_for

pytestmark = pytest.mark.search


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


@pytest.fixture(scope="module")
def forwarded(settings: Settings, searching: Stack, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A log of its own with everything on it, all of it in the engine."""
    platform = everything(settings, tmp_path_factory.mktemp("forwarded"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADRACE_SEARCH__URL", searching.search_url)
        with platform.running("forward-0"):
            wait_for(lambda: passed_on(platform), 60, "all to be passed on")
    return platform


@pytest.fixture(autouse=True)
def _named(searching: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_SEARCH__URL", searching.search_url)


def headrace(platform: Platform, engine: Engine, command: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the pipeline as its user does."""
    settings = platform.settings
    environment = os.environ | {
        "TOY_PIPELINE": platform.topics.pipeline.name,
        "HEADRACE_BOOTSTRAP": settings.bootstrap,
        "HEADRACE_REGISTRY_URL": settings.registry_url,
        "HEADRACE_STATE": str(settings.state),
        "HEADRACE_UNSIGNED_MODELS": "accept",
        "HEADRACE_SEARCH__URL": engine.url,
    }
    cmd = [sys.executable, "-m", "headrace", *command.split(), REFERENCE, *args]
    return subprocess.run(cmd, env=environment, capture_output=True, text=True, timeout=120)


def forge(topics: PipelineTopics, event_time: int, outputs: list[float]) -> bytes:
    """A prediction that no worker made, of features that never were."""
    columns: dict[str, ColumnValues] = {
        "id": "forged",
        "key": "k",
        "event_time": event_time,
        "partition": 1,
        "offset": 10**12,
        "model_id": "m",
        "marker_offset": 0,
        "route": "champion",
        "outputs": np.array([outputs], dtype=np.float32),
        "runtime": "r",
    }
    (value,) = topics.codec("predictions").encode_columns(1, columns)
    assert value is not None
    return value


def test_the_index_holds_what_the_topics_hold(forwarded: Platform, engine: Engine) -> None:
    name = forwarded.topics.pipeline.name
    assert {n: ids_of(engine, f"{name}-{n}") for n in FORWARDED} == {n: coordinates(forwarded, n) for n in FORWARDED}
    report = judged(forwarded, engine)
    assert (report.violations, report.notes) == ([], {})
    rows = forwarded.rows("predictions")
    row = rows.row(0, named=True)
    scored = forwarded.rows("features").filter(p=row["p"], o=row["offset"]).row(0, named=True)
    id_ = document_id(forwarded.topics.topic("predictions"), row["p"], row["o"])
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
        "features": {n: scored[n] for n in forwarded.topics.pipeline.feature_columns},
        "@id": id_,
        "@topic": forwarded.topics.topic("predictions"),
        "@partition": row["p"],
        "@offset": row["o"],
        "@record": "headrace.Prediction",
        "@time": f"{row['event_time']:%Y-%m-%dT%H:%M:%S.%fZ}",
    }


def test_what_is_missing_twice_or_strange_is_named(forwarded: Platform, engine: Engine) -> None:
    topic, name = forwarded.topics.topic("predictions"), f"{forwarded.topics.pipeline.name}-predictions"
    rows = forwarded.rows("predictions")
    (lost, twice), partition = rows.filter(p=0)["o"].head(2).to_list(), 0
    index = f"{name}.2024-01"
    client = engine.client
    client.delete(index=index, id=document_id(topic, partition, lost))
    again = source_of(engine, name, document_id(topic, partition, twice))
    client.index(index=f"{name}.2024-02", id=document_id(topic, partition, twice), document=again)
    beyond = int(rows.filter(p=0)["o"].max()) + 1000  # type: ignore[arg-type]
    strange = {**again, "@offset": beyond, "@id": document_id(topic, partition, beyond)}
    client.index(index=index, id=document_id(topic, partition, beyond), document=strange)
    elsewhere = {**again, "@topic": "another", "@partition": 77}
    client.index(index=index, id="another-77-1", document=elsewhere)

    report = judged(forwarded, engine)
    assert {(v.offset, v.what.split(":")[0]) for v in report.violations} == {
        (lost, "it was passed on, and is not in the search engine"),
        (twice, "it is in the search engine twice, in two indices"),
        (beyond, "the search engine holds a document of it, and the log has no such record"),
        (-1, f"1 documents under {name} are of no partition of this topic"),
    }
    refused = headrace(forwarded, engine, "search rebuild", "--topic", "predictions")
    assert refused.returncode == 1
    assert "1 documents under" in refused.stderr
    made = headrace(forwarded, engine, "search rebuild", "--topic", "predictions", "--force", "--json")
    assert made.returncode == 0, made.stderr
    (said,) = json.loads(made.stdout)
    assert (said["topic"], said["documents"], said["refused"]) == ("predictions", rows.height, [])
    assert said["dropped"] == [index, f"{name}.2024-02"]
    assert judged(forwarded, engine).violations == []
    assert ids_of(engine, name) == coordinates(forwarded, "predictions")


def test_an_index_is_made_anew_while_records_come(forwarded: Platform, engine: Engine) -> None:
    """Afterwards it holds what the log holds, and what comes later finds its way."""
    name = f"{forwarded.topics.pipeline.name}-predictions"
    before = forwarded.rows("predictions").height
    with forwarded.running("preprocess-0", "infer-0", "forward-0"):
        forwarded.push(clicks(700, 200, labelled=False))
        for _ in range(2):
            made = headrace(forwarded, engine, "search rebuild", "--json")
            assert made.returncode == 0, made.stderr
            forwarded.push(clicks(900, 50, labelled=False))
        forwarded.wait_rows("predictions", before + 300)
        wait_for(lambda: passed_on(forwarded), 60, "all to be passed on")
    assert judged(forwarded, engine).violations == []
    assert ids_of(engine, name) == coordinates(forwarded, "predictions")
    state = headrace(forwarded, engine, "search status", "--json")
    rows = {row["topic"]: row for row in json.loads(state.stdout)}
    assert {n: row["documents"] for n, row in rows.items()} == {n: len(coordinates(forwarded, n)) for n in FORWARDED}
    assert {row["lag"] for row in rows.values()} == {0}
    audited = headrace(forwarded, engine, "audit", "--search", "--json", "--no-recompute")
    lines = {line["subject"]: line for line in json.loads(audited.stdout)["lines"] if line["rule"] == "indexed"}
    assert {n: line["checked"] for n, line in lines.items()} == {n: len(coordinates(forwarded, n)) for n in FORWARDED}
    assert audited.returncode == 0, audited.stdout


def test_what_the_engine_refuses_is_a_dead_letter_with_its_reason(forwarded: Platform, engine: Engine) -> None:
    """A time that no calendar has; NaN, for which JSON has no word, is said beside."""
    topics = forwarded.topics
    odd = forge(topics, 2**62, [0.5]), forge(topics, 0, [float("nan")]), forge(topics, 253402300799_999999, [0.25])
    writer = forwarded.log.writer("forger")
    writer.begin()
    ((first, second, third),) = writer.write_and_wait([Output(topics.tp("predictions", 1), [b"k"] * 3, list(odd))])
    writer.commit()
    writer.close()
    with forwarded.running("forward-0"):
        wait_for(lambda: passed_on(forwarded), 60, "all to be passed on")
    letters = forwarded.rows("dead").filter(stage="forward")
    assert letters.select("code", "topic", "partition", "offset").rows() == [
        ("search_refused", topics.topic("predictions"), 1, first)
    ]
    assert "failed to parse date field" in letters["reason"][0]
    name = f"{topics.pipeline.name}-predictions"
    found = source_of(engine, name, document_id(topics.topic("predictions"), 1, second))
    assert (found["outputs"], found["@not_finite"], found["features"]) == ([None], ["outputs"], None)
    found = source_of(engine, name, document_id(topics.topic("predictions"), 1, third))
    assert found["event_time"] == "9999-12-31T23:59:59.999999Z"
    assert judged(forwarded, engine).violations == []


def test_while_the_engine_is_away_forward_waits_and_says_so(
    forwarded: Platform, searching: Stack, engine: Engine
) -> None:
    """It is killed while there are records to pass on, and so is forward; nothing is dead-lettered for it."""
    letters = forwarded.rows("dead").height
    before = forwarded.rows("predictions").height
    with forwarded.running("preprocess-0", "infer-0"):
        forwarded.push(clicks(2_000, 200, labelled=False))
        forwarded.wait_rows("predictions", before + 200)
        searching.stop_search()
        first = forwarded.start("forward-1")
        wait_for(lambda: "cannot be reached" in forwarded.said("forward-1"), 40, "the outage to be met")
        port = re.findall(r"/metrics on http://127.0.0.1:(\d+)", forwarded.said("forward-1"))[-1]
        health = httpx2.get(f"http://127.0.0.1:{port}/health")
        assert health.status_code == 503
        assert health.json()["status"] == "paused"
        assert health.json()["why"].startswith(f"search engine {engine.url} cannot be reached: ")
        first.kill()
        first.wait()
        searching.start_search()
        forwarded.push(clicks(2_200, 100, labelled=False))
        forwarded.wait_rows("predictions", before + 300)
        with forwarded.running("forward-1"):
            wait_for(lambda: passed_on(forwarded), 60, "all to be passed on")
    assert judged(forwarded, engine).violations == []
    assert forwarded.rows("dead").height == letters


def test_an_index_of_somebody_else_stops_forward_at_its_start(
    settings: Settings, engine: Engine, unique: Callable[[str], str], tmp_path: Path
) -> None:
    platform = Platform(unique("p"), settings, tmp_path)
    name = platform.topics.pipeline.name
    write_control(platform.topics, "decisions", [Rejection(model_id="m", by="b", reason="r")], ["m"])
    engine.client.indices.create(index=f"{name}-decisions.2024-01", mappings={"properties": {"by": {"type": "date"}}})
    assert platform.start("forward-0").wait(60) == 2
    assert platform.said("forward-0").splitlines()[-1] == (
        f"headrace: index {name}-decisions.2024-01 of {engine.url} has other mappings than decisions needs: "
        "by is date, and would be keyword; its mapping is dynamic: true, ours is strict. "
        "Move it away, or fill it anew from the log: `headrace search rebuild`"
    )
