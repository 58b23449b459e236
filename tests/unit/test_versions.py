"""Versions of topics on the log in memory: the same bytes come back, and whatever was changed is found."""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headrace.cli.times import span_given
from headrace.codec.column import BytesColumn
from headrace.errors import ConfigError, DataError, HeadraceError, VersionDamaged
from headrace.jobs.hash_tree import TreeBuilder, forest_root
from headrace.jobs.train.dataset import read_examples
from headrace.jobs.versions import dvc
from headrace.jobs.versions.diff import diff
from headrace.jobs.versions.examples import archived_examples
from headrace.jobs.versions.folder import DataFolder
from headrace.jobs.versions.manifest import MANIFEST, load_manifest
from headrace.jobs.versions.ranges import before, everything, parse_ranges, words
from headrace.jobs.versions.restore import restore
from headrace.jobs.versions.retention import guard
from headrace.jobs.versions.snapshot import DATASETS, Snapshot, snapshot
from headrace.jobs.versions.verify import chunks_of, verified
from headrace.kafka.log import Chunk, Output, read_all
from headrace.kafka.memory import MemoryLog, MemoryWriter
from headrace.schema.records import OffsetRange, Rejection
from headrace.schema.registry import MemoryRegistry
from headrace.testing.memory import in_memory
from headrace.testing.models import model_package
from headrace.testing.pipelines import BEGIN, clicks, toy
from headrace.topics.pipeline_topics import PipelineTopics

Record = tuple[bytes | None, bytes | None]


@pytest.fixture(autouse=True, scope="module")
def no_dvc() -> Iterator[None]:
    """DVC as far as its files go: the real one is in the integration tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dvc, "make_repository", lambda folder: None)

        def add(folder: Path, summary: object) -> None:
            dvc.tracked(folder).write_text(f"outs:\n- path: {folder.name}\n")
            dvc.note(dvc.tracked(folder), summary)  # type: ignore[arg-type]

        patch.setattr(dvc, "add", add)
        yield


def platform(name: str = "toy", partitions: int = 2) -> PipelineTopics:
    return in_memory(toy(name, partitions))


def put(topics: PipelineTopics, dataset: str, partition: int, records: Sequence[Record]) -> None:
    """One transaction: it leaves a gap in the offsets after the records."""
    writer = topics.log.writer("test")
    writer.begin()
    writer.write(Output(topics.tp(dataset, partition), [k for k, _ in records], [v for _, v in records]))
    writer.commit()


def events(topics: PipelineTopics, start: int, count: int) -> list[Record]:
    rows = clicks(start, count, labelled=False)
    values = topics.codec("raw").encode(rows)
    return [(user.encode(), value) for user, value in zip(rows["user"], values, strict=True)]


def on_topic(topics: PipelineTopics, topic: str) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = {}
    for chunk in read_all(topics.log, topic):
        found.setdefault(chunk.tp.partition, []).extend(zip(chunk.keys, chunk.values, strict=True))
    return found


def root_of(records: dict[int, list[Record]], partitions: int) -> str:
    trees = {}
    for p in range(partitions):
        builder = TreeBuilder()
        part = records.get(p, [])
        builder.add(BytesColumn.of([k for k, _ in part]), BytesColumn.of([v for _, v in part]))
        trees[p] = builder.tree()
    return forest_root(trees)


def frozen(topics: PipelineTopics, folder: DataFolder, dataset: str = "raw", file_records: int = 500_000) -> Snapshot:
    ranges = everything(topics.log, topics.topic(dataset))
    return snapshot(topics, dataset, ranges, folder, file_records=file_records)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def topics() -> PipelineTopics:
    found = platform()
    put(found, "raw", 0, events(found, 0, 700))
    put(found, "raw", 1, [*events(found, 700, 50), (b"user1", b"\x00damaged"), (None, None)])
    return found


SOUND = st.integers(0, 99)
"""A sound record, by its number."""
OTHER = st.tuples(st.none() | st.binary(max_size=9), st.none() | st.binary(max_size=40))
PARTITION = st.lists(SOUND | OTHER, max_size=30)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(PARTITION, min_size=1, max_size=3), st.integers(1, 12))
def test_a_version_gives_back_the_same_bytes_whatever_they_are(
    partitions: list[list[int | Record]], file_records: int
) -> None:
    assume(any(partitions))
    topics = platform(partitions=len(partitions))
    known = events(topics, 0, 100)
    records = [[known[one] if isinstance(one, int) else one for one in part] for part in partitions]
    for p, part in enumerate(records):
        for one in part[:-2]:
            put(topics, "raw", p, [one])
        put(topics, "raw", p, part[-2:])
    expected = {p: part for p, part in enumerate(records) if part}
    with tempfile.TemporaryDirectory() as place:
        folder = DataFolder(Path(place))
        done = frozen(topics, folder, file_records=file_records)
        root = root_of(expected, len(records))
        assert done.summary.forest_root == root
        assert done.summary.records == sum(map(len, records))
        version = folder.find("toy", done.summary.version)
        restored = restore(topics.log, folder, version)
        assert on_topic(topics, restored.topic) == expected
        assert restored.forest_root == root
        chunks = list(chunks_of(done.folder, verified(done.folder)))
        for p, part in expected.items():
            own = [c for c in chunks if c.tp == topics.tp("raw", p)]
            assert [r for c in own for r in zip(c.keys, c.values, strict=True)] == part
            offsets = [o for c in read_all(topics.log, "toy.raw") if c.tp.partition == p for o in c.offsets.tolist()]
            assert [o for c in own for o in c.offsets.tolist()] == offsets


def test_a_file_has_the_bytes_and_the_decoded_columns(topics: PipelineTopics, folder: DataFolder) -> None:
    done = frozen(topics, folder)
    assert sorted(p.name for p in done.folder.iterdir()) == [
        MANIFEST,
        "p0-000000000000.parquet",
        "p1-000000000000.parquet",
    ]
    found = pl.read_parquet(done.folder / "p1-000000000000.parquet")
    raw = topics.columns("raw")
    own = {"_partition": pl.Int32, "_offset": pl.Int64, "_key": pl.Binary, "_value": pl.Binary}
    assert dict(found.schema) == {**own, **raw}
    assert found.height == 52
    sent = clicks(700, 50, labelled=False)
    assert found.head(50).select(sent.columns).equals(sent)
    assert found.tail(2).select(*raw).null_count().row(0) == (2,) * len(raw)
    assert found["_value"].to_list()[-2:] == [b"\x00damaged", None]
    manifest = load_manifest(done.folder)
    assert (manifest.records, manifest.undecoded, manifest.topic_partitions) == (752, 2, 2)


def test_files_are_cut_at_so_many_records_and_named_for_their_first_offset(
    topics: PipelineTopics, folder: DataFolder
) -> None:
    done = frozen(topics, folder, file_records=300)
    files = [(f.name, f.records) for p in load_manifest(done.folder).partitions for f in p.files]
    assert files == [
        ("p0-000000000000.parquet", 300),
        ("p0-000000000300.parquet", 300),
        ("p0-000000000600.parquet", 100),
        ("p1-000000000000.parquet", 52),
    ]


def test_the_same_ranges_are_the_same_version_and_are_not_written_twice(
    topics: PipelineTopics, folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = frozen(topics, folder)
    written = {p: p.stat().st_mtime_ns for p in folder.path.rglob("*") if p.is_file()}
    two = frozen(topics, folder, file_records=10)
    assert (one.written, two.written) == (True, False)
    assert two.summary == one.summary
    assert {p: p.stat().st_mtime_ns for p in folder.path.rglob("*") if p.is_file()} == written
    put(topics, "raw", 0, events(topics, 0, 1))
    assert frozen(topics, folder).summary.version != one.summary.version


def test_what_a_killed_snapshot_left_does_not_count(topics: PipelineTopics, folder: DataFolder) -> None:
    left = folder.place("toy", "raw") / ".writing"
    left.mkdir(parents=True)
    (left / "p0-000000000000.parquet").write_bytes(b"half")
    assert folder.versions("toy") == []
    done = frozen(topics, folder)
    assert [v.name for v in folder.versions("toy")] == [done.summary.version]
    assert not left.exists()
    dvc.tracked(done.folder).unlink()  # killed before DVC knew of it
    again = frozen(topics, folder)
    assert not again.written
    assert dvc.noted(dvc.tracked(done.folder)) == done.summary


def test_a_snapshot_is_refused_while_another_is_written(topics: PipelineTopics, folder: DataFolder) -> None:
    with folder.claimed("toy", "raw"), pytest.raises(DataError, match=r"another process writes a version of toy\.raw"):
        frozen(topics, folder)


def test_ranges_and_times_choose_the_records(topics: PipelineTopics, folder: DataFolder) -> None:
    ranges = parse_ranges("1:10-20, 0:5-8")
    assert words(ranges) == "0:5-8,1:10-20"
    done = snapshot(topics, "raw", ranges, folder)
    whole = on_topic(topics, "toy.raw")
    restored = restore(topics.log, folder, folder.find("toy", done.summary.version))
    assert on_topic(topics, restored.topic) == {0: whole[0][5:8], 1: whole[1][10:20]}
    assert words(before(topics.log, "toy.raw", datetime.now(UTC) + timedelta(hours=1))) == "0:0-701,1:0-53"
    assert words(before(topics.log, "toy.raw", BEGIN)) == ""


def test_an_open_transaction_is_not_in_a_version(topics: PipelineTopics, folder: DataFolder) -> None:
    writer = topics.log.writer("open")
    writer.begin()
    writer.write(Output(topics.tp("raw"), [b"k"], [b"v"]))
    assert words(everything(topics.log, "toy.raw")) == "0:0-701,1:0-53"
    with pytest.raises(ConfigError, match=r"toy.raw\[0\] ends at 701: 0:0-702 goes past what is committed"):
        snapshot(topics, "raw", parse_ranges("0:0-702"), folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "--ranges ''"),
        ("0:5", "--ranges '0:5'"),
        ("0:a-b", "--ranges '0:a-b'"),
        ("0:-1-5", "--ranges '0:-1-5'"),
        ("0:0-5,", "--ranges ''"),
        ("0:5-5", "--ranges 0:5-5: it holds no record"),
        ("0:9-5", "--ranges 0:9-5: it holds no record"),
        ("0:0-5,0:7-9", "--ranges: partition 0 is named twice"),
    ],
)
def test_a_bad_text_of_ranges_is_one_clear_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as e:
        parse_ranges(text)
    assert str(e.value).startswith(said)
    assert "\n" not in str(e.value)


def test_ranges_that_are_not_on_the_topic_are_refused_and_nothing_is_written(
    topics: PipelineTopics, folder: DataFolder
) -> None:
    assert isinstance(topics.log, MemoryLog)
    topics.log.drop_before(topics.tp("raw"), 100)
    for text, said in (
        ("0:50-200", r"toy.raw\[0\] begins at 100: the records of 0:50-200 before that were dropped"),
        ("0:100-5000", r"toy.raw\[0\] ends at 701"),
        ("7:0-1", "toy.raw has no partition 7: it has 0 to 1"),
    ):
        with pytest.raises(ConfigError, match=said):
            snapshot(topics, "raw", parse_ranges(text), folder)
    with pytest.raises(ConfigError, match=r"there is nothing on toy\.labels"):
        frozen(topics, folder, "labels")
    with pytest.raises(ConfigError, match=f"no dataset 'dead': name one of {', '.join(DATASETS)}"):
        frozen(topics, folder, "dead")
    assert not folder.path.exists()


def test_records_dropped_while_they_are_read_leave_no_version(
    topics: PipelineTopics, folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = topics.log
    assert isinstance(log, MemoryLog)
    monkeypatch.setattr(
        "headrace.jobs.versions.snapshot.read_range",
        lambda log, ranges: [log.drop_before(topics.tp("raw"), 100), *read_all(log, "toy.raw")][1:],
    )
    with pytest.raises(ConfigError, match=r"toy.raw\[0\] begins at 100"):
        frozen(topics, folder)
    assert folder.versions("toy") == []


def flip(path: Path, at: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(data)


def rewritten(path: Path, column: str, row: int, value: object) -> None:
    """Change one cell of a Parquet file, which stays a sound one."""
    table = pq.read_table(path)
    cells = table.column(column).to_pylist()
    cells[row] = value
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(cells, table.schema.field(column).type)), path)


TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "value": (
        lambda d: rewritten(d / "p0-000000000300.parquet", "_value", 10, b"x"),
        "p0-000000000300.parquet was changed: among its records 4 to 19 ",
    ),
    "key": (
        lambda d: rewritten(d / "p1-000000000000.parquet", "_key", 51, b""),
        "p1-000000000000.parquet was changed: among its records 48 to 51 ",
    ),
    "offset": (
        lambda d: rewritten(d / "p0-000000000300.parquet", "_offset", 10, 9),
        "p0-000000000300.parquet was changed, though not in its keys and values",
    ),
    "column": (
        lambda d: rewritten(d / "p0-000000000000.parquet", "price", 10, 0.5),
        "p0-000000000000.parquet was changed, though not in its keys and values",
    ),
    "bit": (lambda d: flip(d / "p0-000000000600.parquet"), "p0-000000000600.parquet was changed"),
    "footer": (
        lambda d: flip(d / "p0-000000000600.parquet", -1),
        "p0-000000000600.parquet was changed: it is no whole Parquet file",
    ),
    "missing": (lambda d: (d / "p0-000000000300.parquet").unlink(), "p0-000000000300.parquet is missing: remove "),
    "empty": (
        lambda d: (d / "p0-000000000300.parquet").write_bytes(b""),
        "p0-000000000300.parquet was changed: it is no whole Parquet file",
    ),
    "swapped": (
        lambda d: (d / "p0-000000000300.parquet").replace(d / "p0-000000000000.parquet"),
        "p0-000000000300.parquet is missing",
    ),
    "manifest": (
        lambda d: edit(d, "records", 7),
        "manifest.json was changed: its checksum is not that of what it says",
    ),
    "no manifest": (lambda d: (d / MANIFEST).unlink(), "manifest.json is missing: remove "),
    "no json": (lambda d: (d / MANIFEST).write_text("{"), "manifest.json cannot be read (Expecting property name"),
    "resealed root": (
        lambda d: resealed(d, "forest_root", "00"),
        "manifest.json was changed: its root does not follow from its blocks",
    ),
    "resealed ranges": (
        lambda d: resealed(d, "ranges", []),
        "manifest.json was changed: its version does not follow from its ranges and root",
    ),
    "later": (lambda d: edit(d, "format", 2), "manifest.json is of format 2: a later headrace wrote it"),
}


def edit(folder: Path, name: str, value: object) -> None:
    said = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**said, name: value}))


def resealed(folder: Path, name: str, value: object) -> None:
    """A changed manifest with the checksum of what it says now."""
    manifest = load_manifest(folder).model_copy(update={name: value}).sealed()
    (folder / MANIFEST).write_text(manifest.text())


@pytest.mark.parametrize("kind", TAMPERED)
def test_whatever_is_tampered_with_is_named_and_nothing_is_written(
    kind: str, topics: PipelineTopics, folder: DataFolder
) -> None:
    done = frozen(topics, folder, file_records=300)
    tamper, said = TAMPERED[kind]
    tamper(done.folder)
    assert isinstance(topics.log, MemoryLog)
    there = set(topics.log.entries)
    with pytest.raises(VersionDamaged) as e:
        restore(topics.log, folder, folder.find("toy", done.summary.version))
    assert said in str(e.value)
    assert "\n" not in str(e.value)
    assert str(e.value).endswith("(nothing was written to a topic)")
    assert set(topics.log.entries) == there


def test_a_topic_that_is_not_empty_is_refused(topics: PipelineTopics, folder: DataFolder) -> None:
    done = frozen(topics, folder)
    version = folder.find("toy", done.summary.version[:5])
    with pytest.raises(ConfigError, match=r"toy.raw is not empty: name a topic that is empty or not there with --to"):
        restore(topics.log, folder, version, "toy.raw")
    topics.log.create_topics({"narrow": (1, {}), "wide": (5, {})})
    with pytest.raises(ConfigError, match=f"narrow has 1 partitions, version {version.name} needs 2"):
        restore(topics.log, folder, version, "narrow")
    assert restore(topics.log, folder, version, "wide").records == 752
    assert on_topic(topics, "wide") == on_topic(topics, "toy.raw")


class Cut(HeadraceError):
    """A restore was interrupted."""


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_an_interrupted_restore_goes_on_where_it_stood(
    topics: PipelineTopics, folder: DataFolder, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    done = frozen(topics, folder)
    version = folder.find("toy", done.summary.version)
    monkeypatch.setattr("headrace.jobs.versions.restore.TRANSACTION_RECORDS", 200)
    write, written = MemoryWriter.write, iter(range(10))

    def cut(writer: MemoryWriter, output: Output) -> None:
        if next(written) == after:
            raise Cut("cut")
        write(writer, output)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryWriter, "write", cut)
        with pytest.raises(Cut):
            restore(topics.log, folder, version)
    restored = restore(topics.log, folder, version)
    assert restored.continued == 200 * after
    assert on_topic(topics, restored.topic) == on_topic(topics, "toy.raw")
    assert restore(topics.log, folder, version).continued == 752
    writer = topics.log.writer("stranger")
    writer.begin()
    writer.write(Output(topics.tp(f"raw.restored-{version.name}", 0), [None], [b"stray"]))
    writer.commit()
    with pytest.raises(ConfigError, match=f"holds other records than version {version.name}: delete it"):
        restore(topics.log, folder, version)


def test_a_version_is_named_by_its_unique_beginning_and_by_its_own_pipeline(
    topics: PipelineTopics, folder: DataFolder
) -> None:
    one = frozen(topics, folder).summary.version
    two = snapshot(topics, "raw", parse_ranges("0:0-5"), folder).summary.version
    assert folder.find("toy", one[:6], "raw").name == one
    with pytest.raises(ConfigError, match=f"version '' fits 2: .*{one}.*; give more of its name"):
        folder.find("toy", "")
    with pytest.raises(ConfigError, match=f"no version of toy in .* begins with 'xyz'; there are: .*{two}"):
        folder.find("toy", "xyz")
    with pytest.raises(ConfigError, match=f"version {one} is of toy.raw, not of other: name those"):
        folder.find("other", one)
    with pytest.raises(ConfigError, match=f"version {one} is of toy.raw, not of toy.examples: name those"):
        folder.find("toy", one, "examples")


def test_a_version_that_was_moved_to_another_pipeline_is_none_of_its(
    topics: PipelineTopics, folder: DataFolder
) -> None:
    done = frozen(topics, folder)
    place = folder.place("other", "raw")
    place.mkdir(parents=True)
    done.folder.rename(place / done.summary.version)
    with pytest.raises(VersionDamaged, match=f"it is of version toy/raw/{done.summary.version}"):
        verified(place / done.summary.version)


@pytest.mark.parametrize(
    ("given", "span"),
    [("45s", timedelta(seconds=45)), ("1.5h", timedelta(minutes=90)), ("2d", timedelta(2)), ("1w", timedelta(7))],
)
def test_spans_are_read_as_people_write_them(given: str, span: timedelta) -> None:
    assert span_given("--within", given) == span
    for wrong in ("", "2", "d", "-1d", "2 days", "9" * 20 + "d"):
        with pytest.raises(ConfigError, match="give a span as in 45s, 30m, 12h, 2d or 1w"):
            span_given("--within", wrong)


def test_a_data_folder_that_cannot_be_written_is_one_clear_line(
    topics: PipelineTopics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"the data folder .*file cannot be written: Not a directory"):
        frozen(topics, DataFolder(tmp_path / "file"))
    folder = DataFolder(tmp_path / "data")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "Error writing bytes to file")

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "write_table", full)
        with pytest.raises(DataError, match="cannot be written: No space left on device; make room"):
            frozen(topics, folder)
    assert folder.versions("toy") == []
    assert [p for p in folder.path.rglob("*") if p.is_file() and p.name != ".lock"] == []


def test_without_dvc_nothing_is_written(
    topics: PipelineTopics, folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"package dvc is missing: pip install 'headrace\[data\]'"):
        frozen(topics, folder)
    assert not folder.path.exists()


# What training used, and what is about to go.


def with_examples(partitions: int = 2, count: int = 60, retention: str = "86400000") -> PipelineTopics:
    topics = PipelineTopics(toy("toy", partitions), MemoryLog(), MemoryRegistry())
    topics.log.create_topics({"toy.examples": (partitions, {"retention.ms": retention})})
    topics.init()
    more_examples(topics, 0, count)
    return topics


def more_examples(topics: PipelineTopics, start: int, count: int) -> None:
    for p in range(topics.pipeline.partitions):
        n = range(start, start + count)
        rows = pl.DataFrame(
            {
                "id": [f"{p}-{i}" for i in n],
                "key": ["k"] * count,
                "event_time": [BEGIN + timedelta(minutes=i) for i in n],
                "raw_offset": list(n),
                "price": [i / 10 for i in n],
                "seen_10m": list(n),
                "label": [float(i % 2) for i in n],
                "label_time": [BEGIN + timedelta(minutes=i) for i in n],
                "feature_offset": list(n),
                "label_offset": list(n),
            }
        )
        put(topics, "examples", p, [(b"k", v) for v in topics.codec("examples").encode(rows)])


def trained_on(topics: PipelineTopics, ranges: str, seed: int) -> str:
    """Publish a model trained on ranges of the examples."""
    found = parse_ranges(ranges)
    package = model_package(topics.pipeline, seed)
    update = {"ranges": found, "root_hash": read_examples(topics, found).root_hash}
    manifest = package.manifest.model_copy(update={"lineage": package.manifest.lineage.model_copy(update=update)})
    writer = topics.log.writer("models")
    writer.begin()
    writer.write(topics.control("models", [manifest], [manifest.model_id]))
    writer.commit()
    return manifest.model_id


def states(
    topics: PipelineTopics, folder: DataFolder, *, hours: int = 2, age: int = 23, archive: bool = True
) -> list[str]:
    """Their states, some hours after the examples came; they are kept for 24."""
    now = datetime.now(UTC) + timedelta(hours=age)
    return [k.state for k in guard(topics, folder, timedelta(hours=hours), archive=archive, now=now)]


@pytest.mark.slow
def test_what_live_models_were_trained_on_is_archived_before_it_is_dropped(folder: DataFolder) -> None:
    topics = with_examples()
    trained_on(topics, "0:0-40,1:0-40", 1)
    trained_on(topics, "0:10-20", 2)
    assert states(topics, folder, age=1) == ["safe", "safe"]
    assert states(topics, folder, archive=False) == ["due", "due"]
    assert not folder.path.exists()
    assert states(topics, folder) == ["archived", "archived"]
    [version] = folder.versions("toy")  # the first model's holds the second one's examples too
    assert version.summary is not None
    assert words(version.summary.ranges) == "0:0-40,1:0-40"
    assert states(topics, folder) == ["archived", "archived"]
    assert [v.name for v in folder.versions("toy")] == [version.name]
    assert isinstance(topics.log, MemoryLog)
    topics.log.drop_before(topics.tp("examples", 0), 15)
    trained_on(topics, "0:15-30", 3)
    assert states(topics, folder) == ["dropped and archived", "dropped and archived", "archived"]


@pytest.mark.slow
def test_what_was_dropped_and_not_archived_is_said_and_rejected_models_do_not_count(folder: DataFolder) -> None:
    topics = with_examples()
    one, two = trained_on(topics, "0:0-40", 1), trained_on(topics, "1:0-40", 2)
    assert isinstance(topics.log, MemoryLog)
    topics.log.drop_before(topics.tp("examples", 0), 1)
    assert states(topics, folder) == ["dropped, NOT archived", "archived"]
    writer = topics.log.writer("people")
    writer.begin()
    writer.write(topics.control("decisions", [Rejection(model_id=one, by="ann", reason="no")], [one]))
    writer.commit()
    now = datetime.now(UTC)
    [kept] = guard(topics, folder, timedelta(hours=1), archive=True, now=now)
    assert (kept.model_id, kept.state) == (two, "archived")
    assert kept.goes is not None
    assert abs(kept.goes - now - timedelta(hours=24)) < timedelta(minutes=5)


@pytest.mark.slow
def test_records_that_are_not_those_a_model_was_trained_on_do_not_count_as_its_archive(folder: DataFolder) -> None:
    topics = with_examples()
    trained_on(topics, "0:0-40", 1)
    assert isinstance(topics.log, MemoryLog)
    topics.log.overwrite(topics.tp("examples"), 7, b"other")
    assert states(topics, folder) == ["not what it was"]


def test_a_topic_that_keeps_for_ever_drops_nothing(folder: DataFolder) -> None:
    topics = with_examples(retention="-1")
    trained_on(topics, "0:0-40", 1)
    [kept] = guard(topics, folder, timedelta(days=9999), archive=True, now=datetime.now(UTC))
    assert (kept.state, kept.goes) == ("safe", None)


def test_examples_come_from_a_version_exactly_as_they_were(folder: DataFolder) -> None:
    topics = with_examples()
    asked = [OffsetRange(partition=0, start=5, stop=30), OffsetRange(partition=1, start=7, stop=7)]
    assert archived_examples("toy", asked, folder.path) is None
    done = frozen(topics, folder, "examples", file_records=8)
    found = archived_examples("toy", asked, folder.path)
    assert found is not None
    assert found.version == done.summary.version
    chunks = list(found.chunks)
    whole = on_topic(topics, "toy.examples")[0]
    assert [o for c in chunks for o in c.offsets.tolist()] == list(range(5, 30))
    assert [r for c in chunks for r in zip(c.keys, c.values, strict=True)] == whole[5:30]
    assert {c.tp for c in chunks} == {topics.tp("examples", 0)}
    assert archived_examples("toy", [OffsetRange(partition=0, start=5, stop=900)], folder.path) is None
    flip(done.folder / "p1-000000000008.parquet")
    with pytest.raises(VersionDamaged, match=r"p1-000000000008\.parquet was changed"):
        archived_examples("toy", asked, folder.path)
    (done.folder / MANIFEST).write_text("")
    with pytest.raises(VersionDamaged, match=r"manifest\.json cannot be read"):
        archived_examples("toy", asked, folder.path)


def test_versions_are_compared_by_schema_counts_and_columns(folder: DataFolder) -> None:
    topics = with_examples()
    one = snapshot(topics, "examples", parse_ranges("0:0-60"), folder)
    more_examples(topics, 1000, 60)
    put(topics, "examples", 0, [(b"k", None)])
    two = snapshot(topics, "examples", parse_ranges("0:0-124"), folder)
    other = snapshot(topics, "examples", parse_ranges("1:0-60"), folder)
    sides = [(s.folder, load_manifest(s.folder)) for s in (one, two, other)]
    found = diff(sides[0], sides[1])
    assert (found.records, found.added, found.removed, found.changed) == ((60, 121), {}, {}, {})
    columns = {c.name: c for c in found.columns}
    assert list(columns) == list(topics.columns("examples"))
    assert columns["price"].one.mean == pytest.approx(2.95)
    assert columns["price"].two.nulls == 0.0
    assert columns["price"].psi is not None
    assert columns["price"].psi > 0.25
    assert columns["label"].psi == pytest.approx(0.0)
    assert columns["id"].psi is None
    assert columns["key"].one.top == [("k", 1.0)]
    assert columns["event_time"].one.first == "2024-01-01 00:00:00+00:00"
    same = {c.name: c.psi for c in diff(sides[0], sides[2]).columns}
    assert same["price"] == 0.0
    schema = {**sides[0][1].avro_schema}
    schema["fields"] = [
        {"name": "added", "type": "long"},
        *({**f, "type": "string"} if f["name"] == "price" else f for f in schema["fields"] if f["name"] != "label"),
    ]
    changed = diff(sides[0], (sides[2][0], sides[2][1].model_copy(update={"avro_schema": schema})))
    assert (changed.added, changed.removed) == ({"added": "Int64"}, {"label": "Float64"})
    assert changed.changed == {"price": ("Float64", "String")}


def test_a_version_only_in_dvc_is_known_by_what_its_file_says(folder: DataFolder) -> None:
    topics = with_examples()
    done = frozen(topics, folder, "examples")
    for path in done.folder.iterdir():
        path.unlink()
    done.folder.rmdir()
    [version] = folder.versions("toy")
    assert (version.state, version.summary) == ("in DVC", done.summary)
    assert folder.covering("toy", "examples", done.summary.ranges) == [version]
    again = frozen(topics, folder, "examples")
    assert again.written
    assert again.summary.version == done.summary.version


def test_chunks_are_slices_without_copies_of_records(topics: PipelineTopics, folder: DataFolder) -> None:
    done = frozen(topics, folder)
    for chunk in chunks_of(done.folder, load_manifest(done.folder)):
        assert isinstance(chunk, Chunk)
        assert not chunk.values.data.flags.owndata
