"""Where a model's chunks are: on a topic of their own, found by what the manifest says, or wherever else they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ModelRejected
from headrace.governance.catalog import Published, published
from headrace.kafka.memory import MemoryLog
from headrace.keys import new_key
from headrace.models.library import ModelLibrary
from headrace.models.package import package as packages
from headrace.models.package.package import Package, cut, digest
from headrace.models.package.signing import Trust, check, sign
from headrace.models.package.topic import fetch, publication
from headrace.query.audit import publications
from headrace.query.audit.report import Report
from headrace.schema.records import ModelChunk, ModelManifest
from headrace.testing.memory import in_memory
from headrace.testing.models import model_package
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS
from tests.unit.chunked import PIPELINE, CountingLog, bytes_package, compact, fetched, keys, write
from tests.waiting import wait_for


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "CHUNK_BYTES", 8)


@pytest.fixture
def log() -> CountingLog:
    return CountingLog()


@pytest.fixture
def topics(log: CountingLog) -> PipelineTopics:
    return in_memory(PIPELINE, log)


def test_the_table_has_a_topic_for_chunks_and_one_for_manifests() -> None:
    chunks, models = TOPICS["model_chunks"], TOPICS["models"]
    assert (chunks.records, chunks.keyed, chunks.retention) == (("ModelChunk",), False, "compact")
    assert (models.records, models.formerly) == (("ModelManifest", "TrainedAgain"), ("ModelChunk",))


@pytest.mark.usefixtures("small_chunks")
def test_a_publication_is_chunks_on_one_topic_and_the_manifest_on_another_in_one_transaction(
    topics: PipelineTopics,
) -> None:
    package = bytes_package(b"twenty bytes of model")
    outputs = publication(topics, package)
    assert [o.tp for o in outputs] == [topics.tp("model_chunks"), topics.tp("models")]
    write(topics, outputs, commit=False)
    assert (published(topics), keys(topics, "model_chunks")) == ({}, [])
    write(topics, publication(topics, package))
    model_id = package.manifest.model_id
    assert keys(topics, "model_chunks") == [f"{model_id}/{i}" for i in range(3)]
    assert keys(topics, "models") == [model_id]
    manifest, offset = published(topics)[model_id]
    assert manifest == package.manifest.model_copy(update={"chunks_from": 4})  # past what was given up, and its marker
    assert fetched(topics, manifest, offset) == package.onnx


@pytest.mark.usefixtures("small_chunks")
def test_of_many_models_one_is_fetched_without_reading_a_chunk_of_another(
    topics: PipelineTopics, log: CountingLog
) -> None:
    made = [bytes_package(f"the bytes of model number {i}".encode()) for i in range(50)]
    for package in made:
        write(topics, publication(topics, package))
    models = published(topics)
    for package in (made[0], made[20], made[-1]):
        log.read.clear()
        model_id = package.manifest.model_id
        assert fetched(topics, *models[model_id]) == package.onnx
        chunks = len(package.manifest.chunks)
        assert log.read == [(topics.topic("model_chunks"), f"{model_id}/{i}") for i in range(chunks)]


def test_a_process_that_starts_reads_the_chunks_of_the_models_it_loads_and_no_others(
    topics: PipelineTopics, log: CountingLog
) -> None:
    made = [model_package(PIPELINE, seed) for seed in range(4)]
    for package in made:
        write(topics, publication(topics, package))
    wanted = made[2].manifest.model_id
    library = ModelLibrary(topics, log, Trust(unsigned=True))
    try:
        wait_for(lambda: library.model(wanted), 30, "the model asked for")
    finally:
        library.close()
    read = [key for topic, key in log.read if topic == topics.topic("model_chunks")]
    assert read == [f"{wanted}/{i}" for i in range(len(made[2].manifest.chunks))]
    assert [key for topic, key in log.read if topic == topics.topic("models")] == [p.manifest.model_id for p in made]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("wrong", [-5, 0, 3, 9, 10**15])
def test_a_manifest_that_says_wrong_where_its_chunks_are_makes_no_model_unusable(
    topics: PipelineTopics, wrong: int
) -> None:
    made = [bytes_package(f"the bytes of model number {i}".encode()) for i in range(5)]
    for package in made:
        write(topics, publication(topics, package))
    for package in made:
        manifest, offset = published(topics)[package.manifest.model_id]
        assert fetched(topics, manifest.model_copy(update={"chunks_from": wrong}), offset) == package.onnx


@pytest.mark.usefixtures("small_chunks")
def test_a_model_published_again_after_its_chunks_were_compacted_away_loads_by_either_manifest(
    topics: PipelineTopics, log: CountingLog
) -> None:
    package, other = bytes_package(b"published twice, or more"), bytes_package(b"in between")
    for each in (package, other, package):
        write(topics, publication(topics, each))
    chunks = topics.tp("model_chunks")
    for offset in range(len(package.manifest.chunks)):
        log.erase(chunks, offset)
    manifests = [r for _, r in topics.read_control("models") if isinstance(r, ModelManifest)]
    assert [m.chunks_from for m in manifests if m.model_id == package.manifest.model_id] == [0, 7]
    for offset, manifest in topics.read_control("models"):
        assert isinstance(manifest, ModelManifest)
        assert fetched(topics, manifest, offset) in (package.onnx, other.onnx)
    log.drop_before(chunks, 4)  # as someone may cut the topic by hand
    for offset, manifest in topics.read_control("models"):
        assert isinstance(manifest, ModelManifest)
        assert fetched(topics, manifest, offset) in (package.onnx, other.onnx)


@pytest.mark.usefixtures("small_chunks")
def test_where_a_chunk_is_gone_the_model_is_rejected_by_its_number(topics: PipelineTopics, log: CountingLog) -> None:
    package = bytes_package(b"three chunks of a model")
    write(topics, publication(topics, package))
    log.erase(topics.tp("model_chunks"), 1)
    with pytest.raises(ModelRejected, match="chunk 1 of 3 is missing"):
        fetched(topics, *published(topics)[package.manifest.model_id])


@pytest.mark.usefixtures("small_chunks")
def test_chunks_held_back_by_an_older_open_transaction_are_waited_for(topics: PipelineTopics, log: CountingLog) -> None:
    frozen, package = bytes_package(b"never committed"), bytes_package(b"committed after it")
    zombie = log.writer("zombie")
    zombie.begin()
    zombie.write(publication(topics, frozen)[0])
    write(topics, publication(topics, package))
    found: list[bytes] = []
    manifest, offset = published(topics)[package.manifest.model_id]
    reading = threading.Thread(target=lambda: found.append(fetched(topics, manifest, offset)))
    reading.start()
    wait_for(lambda: topics.tp("model_chunks") in log.began, 10, "the chunks to be looked for")
    zombie.abort()
    reading.join(20)
    assert found == [package.onnx]


@pytest.mark.usefixtures("small_chunks")
def test_a_topic_that_ends_before_the_chunks_is_waited_for_then_the_model_is_rejected(
    topics: PipelineTopics, log: CountingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, chunks = bytes_package(b"not there yet"), topics.tp("model_chunks")
    write(topics, publication(topics, package))
    manifest, offset = published(topics)[package.manifest.model_id]
    away, log.entries[chunks] = log.entries[chunks], []
    found: list[bytes] = []
    reading = threading.Thread(target=lambda: found.append(fetched(topics, manifest, offset)))
    reading.start()
    wait_for(lambda: topics.tp("models") in log.began, 10, "the chunks to be looked for everywhere")
    log.entries[chunks] = away  # its broker is back whole
    reading.join(20)
    assert found == [package.onnx]
    log.entries[chunks] = []
    monkeypatch.setattr("headrace.models.package.topic.BACK_S", 0.0)
    with pytest.raises(ModelRejected, match="chunk 0 of 2 is missing"):
        fetched(topics, manifest, offset)


def test_a_model_published_while_the_audit_reads_has_its_chunks_and_its_manifest(
    topics: PipelineTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(topics, publication(topics, model_package(PIPELINE, 1)))

    def as_another_comes(asked: PipelineTopics, *, settled: bool = False) -> dict[str, Published]:
        found = published(asked, settled=settled)
        write(topics, publication(topics, model_package(PIPELINE, 2)))
        return found

    monkeypatch.setattr(publications, "published", as_another_comes)
    report = Report()
    publications.whole(topics, report, None)
    assert (report.violations, report.lines["manifest", "chunks"].checked) == ([], 1)


def test_where_the_chunks_are_is_not_signed_and_all_else_is(topics: PipelineTopics, tmp_path: Path) -> None:
    private, public = new_key(tmp_path, "own")
    trust = Trust(keys=(public.read_text(),))
    package = sign(model_package(PIPELINE, 1), private)
    write(topics, publication(topics, bytes_package(b"before it")))
    write(topics, publication(topics, package))
    manifest, offset = published(topics)[package.manifest.model_id]
    assert manifest.chunks_from
    assert check(fetch(topics, topics.log, manifest, offset), trust)


def test_of_two_manifests_of_one_id_the_first_counts_wherever_a_batch_ends(topics: PipelineTopics) -> None:
    package = bytes_package(b"one")
    later = Package(package.manifest.model_copy(update={"algorithm": "another"}), package.onnx)
    write(topics, [*publication(topics, package), *publication(topics, later)])
    [found] = published(topics).values()
    assert (found.manifest.algorithm, found.offset) == (package.manifest.algorithm, 0)


# The law: as long as a sound copy of every chunk is on the log, a model can be had, whatever happened beside.


MODELS = st.integers(0, 3)
HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), MODELS),
        st.tuples(st.just("abort"), MODELS),
        st.tuples(st.just("altered"), MODELS),
        st.tuples(st.just("compact"), MODELS),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def always_small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packages, "CHUNK_BYTES", 8)
        yield


@pytest.mark.usefixtures("always_small")
@settings(deadline=None, max_examples=60)
@given(HAPPENINGS, st.integers(-3, 60) | st.none())
def test_as_long_as_each_chunk_is_there_once_a_model_can_be_had(
    happenings: list[tuple[str, int]], wrong: int | None
) -> None:
    log = MemoryLog()
    topics = in_memory(PIPELINE, log)
    made = [bytes_package(f"model {i}, of some chunks".encode()) for i in range(4)]
    chunks = topics.tp("model_chunks")
    for what, which in happenings:
        package = made[which]
        if what in ("publish", "abort"):
            write(topics, publication(topics, package), commit=what == "publish")
        elif what == "altered":
            bad = [c.model_copy(update={"data": b"not this"}) for c in cut(package.onnx)]
            write(topics, [topics.control("model_chunks", bad, [f"{c.model_id}/{c.index}" for c in bad])])
        else:
            compact(log, chunks)
    for model_id, (manifest, offset) in published(topics).items():
        [package] = [p for p in made if p.manifest.model_id == model_id]
        if not _each_there(topics, package):
            continue
        for begin in (manifest.chunks_from, wrong):
            assert fetched(topics, manifest.model_copy(update={"chunks_from": begin}), offset) == package.onnx


def _each_there(topics: PipelineTopics, package: Package) -> bool:
    found = {digest(r.data) for _, r in topics.read_control("model_chunks") if isinstance(r, ModelChunk)}
    return found >= set(package.manifest.chunks)
