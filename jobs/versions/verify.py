"""Whether a version's files still hold what its manifest says: each file by its digest, each record by the tree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from headrace.errors import VersionDamaged
from headrace.jobs.hash_tree import TreeBuilder, differing
from headrace.jobs.versions.manifest import DataFile, Partition, VersionManifest, load_manifest, mend
from headrace.jobs.versions.parquet import file_digest, records_of
from headrace.kafka.log import Chunk, TopicPartition
from headrace.progress import SILENT, Progress
from headrace.schema.records import OffsetRange


def verified(folder: Path, told: Progress = SILENT) -> VersionManifest:
    """Read the whole of a version and check it.

    Raises:
        VersionDamaged: a file is missing or was changed; the message names it, and the records that differ.
    """
    manifest = load_manifest(folder)
    told.begins("verifying", manifest.records)
    for partition in manifest.partitions:
        changed = _changed(folder, partition)
        _check_records(folder, manifest, partition, changed, told)
        if changed is not None:
            raise VersionDamaged(
                f"{changed} was changed, though not in its keys and values: its offsets or its decoded columns are "
                f"not what was frozen; {mend(folder)}"
            )
    return manifest


def chunks_of(folder: Path, manifest: VersionManifest, ranges: list[OffsetRange] | None = None) -> Iterator[Chunk]:
    """The records of a version that was verified, partition by partition, in log order; ``ranges``: only these.

    Raises:
        VersionDamaged: a file can no longer be read.
    """
    wanted = {r.partition: (r.start, r.stop) for r in manifest.ranges if ranges is None}
    wanted |= {r.partition: (r.start, r.stop) for r in ranges or ()}
    for partition in manifest.partitions:
        start, stop = wanted.get(partition.partition, (0, 0))
        tp = TopicPartition(manifest.topic, partition.partition)
        for file in partition.files:
            if file.first >= stop or file.last < start:
                continue
            for chunk in _read(folder, folder / file.name, tp):
                first, last = chunk.offsets.searchsorted([start, stop]).tolist()
                if first < last:
                    yield chunk.slice(first, last)


def _changed(folder: Path, partition: Partition) -> Path | None:
    """The first file of a partition whose bytes are not those that were written."""
    for file in partition.files:
        path = folder / file.name
        try:
            if path.stat().st_size != file.bytes or file_digest(path) != file.sha256:
                return path
        except FileNotFoundError:
            raise VersionDamaged(f"{path} is missing: {mend(folder)}") from None
        except OSError as e:
            raise VersionDamaged(f"{path} cannot be read ({e.strerror}): {mend(folder)}") from None
    return None


def _check_records(
    folder: Path, manifest: VersionManifest, partition: Partition, changed: Path | None, told: Progress
) -> None:
    builder = TreeBuilder()
    tp = TopicPartition(manifest.topic, partition.partition)
    for file in partition.files:
        count = 0
        for chunk in _read(folder, folder / file.name, tp):
            builder.add(chunk.keys, chunk.values)
            count += len(chunk)
            told.advanced(len(chunk))
        if count != file.records:
            raise VersionDamaged(
                f"{folder / file.name} was changed: it holds {count:,} records, not {file.records:,}; {mend(folder)}"
            )
    spans = differing(partition.tree, builder.tree())
    if spans:
        start, stop = spans[0]
        file, begin = _file_at(partition, start, changed)
        first, last = max(start - begin, 0), min(stop - begin, file.records) - 1
        more = f", and in {len(spans) - 1} more spans" if len(spans) > 1 else ""
        raise VersionDamaged(
            f"{folder / file.name} was changed: among its records {first} to {last} (counted from 0; {tp}){more} are "
            f"some that are not what was frozen; {mend(folder)}"
        )


def _file_at(partition: Partition, record: int, changed: Path | None) -> tuple[DataFile, int]:
    """The changed file, or else the one that holds a record of the partition; and the number of its first record."""
    begin = 0
    for file in partition.files:
        if file.name == changed.name if changed else record < begin + file.records:
            return file, begin
        begin += file.records
    return partition.files[-1], begin - partition.files[-1].records


def _read(folder: Path, path: Path, tp: TopicPartition) -> Iterator[Chunk]:
    try:
        yield from records_of(path, tp)
    except FileNotFoundError:
        raise VersionDamaged(f"{path} is missing: {mend(folder)}") from None
    except (OSError, ValueError, KeyError) as e:
        said = str(e).strip().splitlines()
        raise VersionDamaged(
            f"{path} was changed: it is no whole Parquet file ({said[0] if said else e!r}); {mend(folder)}"
        ) from None
