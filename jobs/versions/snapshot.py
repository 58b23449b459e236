"""From offset ranges of a topic to a version: read, written as Parquet, hashed, moved into place, put under DVC."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import headrace
from headrace.errors import ConfigError, DataError
from headrace.jobs.hash_tree import HashTree, TreeBuilder, forest_root
from headrace.jobs.versions import dvc
from headrace.jobs.versions.folder import DataFolder
from headrace.jobs.versions.manifest import MANIFEST, Partition, Summary, VersionManifest, load_manifest, version_id
from headrace.jobs.versions.parquet import FILE_RECORDS, PartitionWriter
from headrace.jobs.versions.ranges import check_ranges, words
from headrace.kafka.log import Chunk, read_range
from headrace.progress import SILENT, Progress
from headrace.schema.own import schema_fingerprint
from headrace.schema.records import OffsetRange, now
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS

DATASETS = tuple(t.name for t in TOPICS.values() if t.keyed and t.name != "dead")
"""Topics of a pipeline of which versions are made."""


@dataclass(frozen=True)
class Snapshot:
    """A version that was asked for: what it is, where, and whether it was written now or there already."""

    summary: Summary
    folder: Path
    written: bool


def check_dataset(dataset: str) -> None:
    """See that versions are made of such a topic.

    Raises:
        ConfigError: they are not.
    """
    if dataset not in DATASETS:
        raise ConfigError(f"no dataset {dataset!r}: name one of {', '.join(DATASETS)}")


def snapshot(
    topics: PipelineTopics,
    dataset: str,
    ranges: Sequence[OffsetRange],
    folder: DataFolder,
    *,
    push: bool = False,
    told: Progress = SILENT,
    file_records: int = FILE_RECORDS,
) -> Snapshot:
    """Make a version of a topic over exactly these ranges, and put it under DVC.

    It shows when it is whole: it is written into a folder of another name first. Made again, it is the same version,
    and not written twice.

    Args:
        topics: the pipeline's topics.
        dataset: name of the topic within the pipeline.
        ranges: one range a partition.
        folder: where it goes.
        push: push it to DVC's default remote.
        told: told how far it has come.
        file_records: records of a Parquet file.

    Raises:
        ConfigError: a range is not on the topic, there is nothing in them, DVC is not installed, has no remote to
            push to, or is told to ignore the folder. Nothing was written.
        VersionDamaged: the version is there, and is not what it should be.
        DataError: the folder cannot be written, or DVC failed.
        Unavailable: Kafka or the registry is away.
    """
    check_dataset(dataset)
    dvc.require_dvc()
    if push:
        dvc.require_remote(folder.path)
    dvc.require_kept(folder.place(topics.pipeline.name, dataset))
    topic = topics.topic(dataset)
    ranges = sorted(ranges, key=lambda r: r.partition)
    check_ranges(topics.log, topic, ranges)
    if not words(ranges):
        raise ConfigError(f"there is nothing on {topic} to make a version of: push events, or give other ranges")
    done = _there_already(topics, dataset, ranges, folder, told) or _write(
        topics, dataset, ranges, folder, told, file_records
    )
    keep(folder, done, push=push)
    return done


def keep(folder: DataFolder, done: Snapshot, *, push: bool) -> None:
    """Put a version under DVC where it is not yet, and push it where that is asked.

    Raises:
        DataError: DVC does not keep it. One that was written for this is gone again.
    """
    with folder.writable():
        try:
            dvc.make_repository(folder.path)
            if done.written or dvc.noted(dvc.tracked(done.folder)) is None:
                dvc.add(done.folder, done.summary)
        except DataError:
            if done.written:
                shutil.rmtree(done.folder, ignore_errors=True)
                dvc.tracked(done.folder).unlink(missing_ok=True)
            raise
        if push:
            dvc.push(done.folder)


def root_of(chunks: Iterator[Chunk], partitions: Sequence[int]) -> str:
    """Forest root of records; ``partitions``: those it is over, empty ones too."""
    builders = {p: TreeBuilder() for p in partitions}
    for chunk in chunks:
        builders[chunk.tp.partition].add(chunk.keys, chunk.values)
    return forest_root({p: b.tree() for p, b in builders.items()})


def _read(topics: PipelineTopics, dataset: str, ranges: Sequence[OffsetRange]) -> Iterator[Chunk]:
    """The records of the ranges.

    Raises:
        ConfigError: some were dropped from the topic while they were read.
    """
    wanted = {topics.tp(dataset, r.partition): (r.start, r.stop) for r in ranges}
    yield from read_range(topics.log, wanted)
    check_ranges(topics.log, topics.topic(dataset), ranges)


def _there_already(
    topics: PipelineTopics, dataset: str, ranges: Sequence[OffsetRange], folder: DataFolder, told: Progress
) -> Snapshot | None:
    """A version of these ranges whose root is that of what is on the topic now; found without writing."""
    same = [
        v
        for v in folder.versions(topics.pipeline.name, dataset)
        if v.state == "local" and v.summary is not None and v.summary.ranges == list(ranges)
    ]
    if not same:
        return None
    told.begins("comparing", _span(ranges))
    chunks = _counted(_read(topics, dataset, ranges), told)
    root = root_of(chunks, [r.partition for r in ranges])
    for v in same:
        if v.summary is not None and v.summary.forest_root == root:
            return Snapshot(v.summary, v.folder, written=False)
    return None


def _write(
    topics: PipelineTopics,
    dataset: str,
    ranges: Sequence[OffsetRange],
    folder: DataFolder,
    told: Progress,
    file_records: int,
) -> Snapshot:
    pipeline = topics.pipeline.name
    told.begins("writing", _span(ranges))
    with folder.claimed(pipeline, dataset) as writing:
        manifest = _write_files(topics, dataset, ranges, writing, told, file_records)
        (writing / MANIFEST).write_text(manifest.text())
        place = folder.place(pipeline, dataset) / manifest.version
        if place.exists():
            return Snapshot(load_manifest(place).summary, place, written=False)
        writing.rename(place)
    return Snapshot(manifest.summary, place, written=True)


def _write_files(
    topics: PipelineTopics,
    dataset: str,
    ranges: Sequence[OffsetRange],
    writing: Path,
    told: Progress,
    file_records: int,
) -> VersionManifest:
    codec = topics.codec(dataset)
    writers = {r.partition: PartitionWriter(writing, r.partition, codec, file_records) for r in ranges}
    partitions: dict[int, Partition] = {}
    try:
        for chunk in _counted(_read(topics, dataset, ranges), told):
            for earlier in [p for p in writers if p < chunk.tp.partition and p not in partitions]:
                partitions[earlier] = writers[earlier].close()
            writers[chunk.tp.partition].add(chunk)
        partitions |= {p: w.close() for p, w in writers.items() if p not in partitions}
    finally:
        for w in writers.values():
            w.abandon()
    return _manifest(topics, dataset, ranges, partitions, sum(w.undecoded for w in writers.values()))


def _manifest(
    topics: PipelineTopics,
    dataset: str,
    ranges: Sequence[OffsetRange],
    partitions: dict[int, Partition],
    undecoded: int,
) -> VersionManifest:
    pipeline, topic = topics.pipeline.name, topics.topic(dataset)
    trees: dict[int, HashTree] = {p: part.tree for p, part in partitions.items()}
    root = forest_root(trees)
    schema = TOPICS[dataset].schemas(topics.pipeline)[0]
    return VersionManifest(
        format=1,
        version=version_id(pipeline, dataset, ranges, root),
        pipeline=pipeline,
        dataset=dataset,
        topic=topic,
        topic_partitions=topics.log.partitions(topic),
        ranges=list(ranges),
        records=sum(p.records for p in partitions.values()),
        undecoded=undecoded,
        forest_root=root,
        avro_schema=schema,
        schema_fingerprint=schema_fingerprint(schema),
        partitions=[partitions[r.partition] for r in ranges],
        bytes=sum(f.bytes for p in partitions.values() for f in p.files),
        created_at=now(),
        headrace=headrace.__version__,
    ).sealed()


def _counted(chunks: Iterator[Chunk], told: Progress) -> Iterator[Chunk]:
    for chunk in chunks:
        yield chunk
        told.advanced(len(chunk))


def _span(ranges: Sequence[OffsetRange]) -> int:
    return sum(r.stop - r.start for r in ranges)
