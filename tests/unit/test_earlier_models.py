"""Models that versions before `model_chunks` published: they load, and are moved."""

from __future__ import annotations

import pytest

from headrace.governance.catalog import published
from headrace.kafka.log import Output
from headrace.models.library import ModelLibrary
from headrace.models.package.move import Moved, move
from headrace.models.package.signing import Trust
from headrace.models.package.topic import publication
from headrace.query.records import Asked, records_of
from headrace.schema.records import DeadLetter
from headrace.schema.registry import MemoryRegistry
from headrace.testing.models import model_package
from headrace.topics.pipeline_topics import PipelineTopics
from tests.earlier_models import earlier_installation, earlier_publication
from tests.unit.chunked import PIPELINE, CountingLog, compact, fetched, keys, write
from tests.unit.governed import Court
from tests.unit.loops import until
from tests.waiting import wait_for


@pytest.fixture
def earlier() -> PipelineTopics:
    """An installation of such a version, with three models, on which this one now runs."""
    topics = PipelineTopics(PIPELINE, CountingLog(), MemoryRegistry())
    earlier_installation(topics)
    for seed in range(3):
        write(topics, [earlier_publication(topics, model_package(PIPELINE, seed))])
    return topics


def test_models_of_an_earlier_version_load_before_and_after_init_makes_the_new_topic(earlier: PipelineTopics) -> None:
    before = {m: fetched(earlier, *found) for m, found in published(earlier).items()}
    assert before == {p.manifest.model_id: p.onnx for p in (model_package(PIPELINE, seed) for seed in range(3))}
    assert earlier.init() == [earlier.topic("model_chunks")]
    assert earlier.init() == []
    later = model_package(PIPELINE, 3)
    write(earlier, publication(earlier, later))
    after = {m: fetched(earlier, *found) for m, found in published(earlier).items()}
    assert after == before | {later.manifest.model_id: later.onnx}


def test_records_of_an_earlier_version_are_shown_by_their_types(earlier: PipelineTopics) -> None:
    found = list(records_of(earlier, "models", Asked(limit=100)))
    assert [row["type"] for row in found] == ["ModelChunk", "ModelManifest"] * 3


def test_a_library_loads_a_model_of_an_earlier_version(earlier: PipelineTopics) -> None:
    model_id = model_package(PIPELINE, 1).manifest.model_id
    library = ModelLibrary(earlier, earlier.log, Trust(unsigned=True))
    try:
        wait_for(lambda: library.model(model_id), 30, "the model asked for")
    finally:
        library.close()


def test_models_that_were_moved_are_found_where_the_new_manifest_says(earlier: PipelineTopics) -> None:
    log = earlier.log
    assert isinstance(log, CountingLog)
    made = [model_package(PIPELINE, seed) for seed in range(3)]
    ids, chunks, models = [p.manifest.model_id for p in made], earlier.tp("model_chunks"), earlier.tp("models")
    earlier.init()
    assert move(earlier) == Moved(ids, {})
    assert move(earlier) == Moved([], {})
    compact(log, models)
    assert keys(earlier, "models") == [k for m in ids for k in (m, f"{m}/0")]  # the tombstones are left
    for found in (published(earlier), published(earlier, settled=True)):
        assert [(m, p.manifest.chunks_from) for m, p in found.items()] == list(zip(ids, (0, 2, 4), strict=True))
    for package in made:
        log.read.clear()
        model_id = package.manifest.model_id
        assert fetched(earlier, *published(earlier)[model_id]) == package.onnx
        assert [k for topic, k in log.read if topic == chunks.topic] == [f"{model_id}/0"]


def test_before_compaction_a_moved_models_first_manifest_is_still_the_one_that_counts(earlier: PipelineTopics) -> None:
    before = published(earlier)
    earlier.init()
    move(earlier)
    after = published(earlier)
    assert [(m, p.offset) for m, p in after.items()] == [(m, p.offset) for m, p in before.items()]
    assert [p.manifest.chunks_from for p in after.values()] == [0, 2, 4]
    assert [fetched(earlier, *p) for p in after.values()] == [model_package(PIPELINE, s).onnx for s in range(3)]
    library = ModelLibrary(earlier, earlier.log, Trust(unsigned=True))
    try:
        wait_for(lambda: library.model(list(after)[1]), 30, "a model that was moved")
    finally:
        library.close()


def test_a_model_that_cannot_be_put_together_is_left_where_it_is_and_said(earlier: PipelineTopics) -> None:
    log = earlier.log
    assert isinstance(log, CountingLog)
    first, second, third = published(earlier)
    log.erase(earlier.tp("models"), 3)
    earlier.init()
    assert move(earlier) == Moved([first, third], {second: f"model {second[:12]}: chunk 0 of 1 is missing"})


def test_govern_takes_the_tombstones_of_moved_chunks_for_no_damage() -> None:
    court = Court()
    until(lambda: court.loop.status.ready, court.loop)
    court.judged()
    write(court.topics, [Output(court.topics.tp("models"), [f"{court.ids[0]}/0".encode()], [None])])
    write(court.topics, [Output(court.topics.tp("models"), [b"k"], [b"no record"])])
    group, tp = f"{court.topics.pipeline.name}.govern", court.topics.tp("models")
    end = court.log.high_watermarks(tp.topic)[0]
    until(lambda: court.log.committed(group).get(tp, 0) >= end - 1, court.loop)
    dead = [r.offset for _, r in court.topics.read_control("dead") if isinstance(r, DeadLetter)]
    assert dead == [end - 2]
