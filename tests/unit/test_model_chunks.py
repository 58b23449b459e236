"""Where a model's chunks are: on a topic of their own, found by what the manifest says, or wherever else they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ModelRejected
from headrace.governance.catalog import Published, published
from headrace.kafka.log import Chunk, Output, Reader, TopicPartition
from headrace.kafka.memory import MemoryLog
from headrace.keys import new_key
from headrace.models.library import ModelLibrary
from headrace.models.package import package as packages
from headrace.models.package.move import Moved, move
from headrace.models.package.package import Package, cut, digest
from headrace.models.package.signing import Trust, check, sign
from headrace.models.package.topic import fetch, publication
from headrace.query.audit import publications
from headrace.query.audit.report import Report
from headrace.query.records import Asked, records_of
from headrace.schema.records import DeadLetter, ModelChunk, ModelManifest
from headrace.schema.registry import MemoryRegistry
from headrace.testing.memory import in_memory
from headrace.testing.models import model_package
from headrace.testing.pipelines import toy
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS
from tests.earlier_models import earlier_installation, earlier_publication
from tests.unit.governed import Court
from tests.unit.loops import until
from tests.waiting import wait_for

PIPELINE = toy("chunks", partitions=1)


class _Counted:
    """A reader that notes the topic and key of each record it gives."""

    def __init__(self, reader: Reader, read: list[tuple[str, str]]) -> None:
        self._reader = reader
        self._read = read

    def poll(self, limit: int, timeout: float) -> list[Chunk]:
        chunks = self._reader.poll(limit, timeout)
        self._read += [(c.tp.topic, (key or b"").decode()) for c in chunks for key in c.keys]
        return chunks

    def reached(self, tp: TopicPartition) -> int:
        return self._reader.reached(tp)

    def close(self) -> None:
        self._reader.close()


class CountingLog(MemoryLog):
    """Notes what its readers give."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[tuple[str, str]] = []
        self.began: set[TopicPartition] = set()

    def reader(self, starts: Mapping[TopicPartition, int], *, committed: bool = True) -> Reader:  # type: ignore[override]
        self.began |= starts.keys()
        return _Counted(super().reader(starts, committed=committed), self.read)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "CHUNK_BYTES", 8)


@pytest.fixture
def log() -> CountingLog:
    return CountingLog()


@pytest.fixture
def topics(log: CountingLog) -> PipelineTopics:
    return in_memory(PIPELINE, log)


def bytes_package(onnx: bytes) -> Package:
    """A package of any bytes: no model, yet published and fetched as one."""
    chunks = cut(onnx)
    stated = {"model_id": digest(onnx), "size": len(onnx), "chunks": [c.digest for c in chunks]}
    return Package(model_package(PIPELINE, 0).manifest.model_copy(update=stated), onnx)


def write(topics: PipelineTopics, outputs: Sequence[Output], *, commit: bool = True) -> None:
    writer = topics.log.writer("test")
    writer.begin()
    for output in outputs:
        writer.write(output)
    if commit:
        writer.commit()
    else:
        writer.abort()
    writer.close()


def keys(topics: PipelineTopics, name: str) -> list[str]:
    return [str(row["key"]) for row in records_of(topics, name, Asked(limit=1000))]


def fetched(topics: PipelineTopics, manifest: ModelManifest, offset: int) -> bytes:
    return fetch(topics, topics.log, manifest, offset).onnx


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


# Versions that had no topic for chunks.


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
    _compact(log, models)
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
            _compact(log, chunks)
    for model_id, (manifest, offset) in published(topics).items():
        [package] = [p for p in made if p.manifest.model_id == model_id]
        if not _each_there(topics, package):
            continue
        for begin in (manifest.chunks_from, wrong):
            assert fetched(topics, manifest.model_copy(update={"chunks_from": begin}), offset) == package.onnx


def _compact(log: MemoryLog, tp: TopicPartition) -> None:
    """Keep the last committed record of each key, as the broker's cleaner does."""
    last = {entry.key: offset for offset, entry in enumerate(log.entries[tp]) if entry.visible}
    for offset, entry in enumerate(log.entries[tp]):
        if entry.visible and last[entry.key] != offset:
            log.erase(tp, offset)


def _each_there(topics: PipelineTopics, package: Package) -> bool:
    found = {digest(r.data) for _, r in topics.read_control("model_chunks") if isinstance(r, ModelChunk)}
    return found >= set(package.manifest.chunks)
