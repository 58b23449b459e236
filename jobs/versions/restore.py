"""From a version back to a topic: the same keys and values, partition by partition in order, and the same root.

Nothing is written before the whole version is verified. The topic of a version's own name may be continued: where it
holds the beginning of the version already, as a restore that was interrupted leaves it, the rest follows. Any other
topic must be empty. A restored topic is whole when the command says so: it has then been read back and its root is
the version's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headrace.errors import ConfigError, DataError, TransactionAborted, Unavailable, VersionDamaged
from headrace.jobs.hash_tree import HashTree, TreeBuilder, forest_root
from headrace.jobs.versions.folder import DataFolder, Version
from headrace.jobs.versions.manifest import VersionManifest
from headrace.jobs.versions.verify import chunks_of, verified
from headrace.kafka.log import Chunk, Log, Output, TopicPartition, Writer, read_all
from headrace.progress import SILENT, Progress

TRANSACTION_RECORDS = 20_000
TRANSACTION_BYTES = 8 << 20
"""A transaction is committed at so many records or bytes, long before it could outlive its limit."""
FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


@dataclass(frozen=True)
class Restored:
    """What a restore did.

    Attributes:
        continued: records that an earlier, interrupted restore had written.
    """

    topic: str
    version: str
    records: int
    continued: int
    forest_root: str


def restore(log: Log, folder: DataFolder, version: Version, to: str | None = None, told: Progress = SILENT) -> Restored:
    """Write a version's records to a topic, and check what is there then.

    Args:
        log: the cluster.
        folder: the data folder.
        version: the version, pulled through DVC where it is not here.
        to: a topic that is empty or not there; None: ``<pipeline>.<dataset>.restored-<version>``.
        told: told how far it has come.

    Raises:
        VersionDamaged: the version is not what was frozen; nothing was written.
        ConfigError: the topic holds something else, or has too few partitions; nothing was written.
        DataError: what was read back is not the version.
    """
    try:
        place = folder.fetched(version)
        manifest = verified(place, told)
    except VersionDamaged as e:
        raise VersionDamaged(f"version {version.name}: {e} (nothing was written to a topic)") from None
    topic = to or restored_name(manifest)
    # First the writer: it ends what a killed one of its name has left open.
    writer = log.writer(f"{topic}.restore", tracks=False)
    try:
        there = _target(log, manifest, topic, own=to is None)
        if any(there.values()):
            _check_beginning(manifest, chunks_of(place, manifest), log, topic, there, told)
        told.begins("restoring", manifest.records - sum(there.values()))
        _write(writer, topic, _rest(chunks_of(place, manifest), there), told)
    except (TransactionAborted, Unavailable) as e:
        mend = f"delete {topic} and restore again" if to else "run this again: it goes on from there"
        raise Unavailable(f"{e}; {topic} may hold a part of version {manifest.version}: {mend}") from e
    finally:
        writer.close()
    _check_whole(log, topic, manifest, told)
    return Restored(topic, manifest.version, manifest.records, sum(there.values()), manifest.forest_root)


def restored_name(manifest: VersionManifest) -> str:
    """The topic of a version's own name."""
    return f"{manifest.topic}.restored-{manifest.version}"


def _target(log: Log, manifest: VersionManifest, topic: str, *, own: bool) -> dict[int, int]:
    """Make the topic where it is not there; gives the records in each of its partitions.

    Raises:
        ConfigError: it is not empty, or has too few partitions.
    """
    needed = max((p.partition for p in manifest.partitions), default=0) + 1
    log.create_topics({topic: (max(needed, manifest.topic_partitions), FOR_EVER)})
    has = log.partitions(topic)
    if has < needed:
        raise ConfigError(
            f"{topic} has {has} partitions, version {manifest.version} needs {needed}: name another with --to"
        )
    counts = dict.fromkeys(range(has), 0)
    for chunk in read_all(log, topic, settled=True):
        counts[chunk.tp.partition] += len(chunk)
        if not own:
            raise ConfigError(
                f"{topic} is not empty: name a topic that is empty or not there with --to, or delete it first"
            )
    return counts


def _check_beginning(
    manifest: VersionManifest,
    frozen: Iterator[Chunk],
    log: Log,
    topic: str,
    there: dict[int, int],
    told: Progress,
) -> None:
    """See that what the topic holds is the beginning of the version, in each partition.

    Raises:
        ConfigError: it holds something else.
    """
    told.begins("comparing", sum(there.values()))
    found = _trees(read_all(log, topic), there, told)
    expected = _trees(_heads(frozen, there), there)
    if found != expected:
        raise ConfigError(
            f"{topic} holds other records than version {manifest.version}: delete it, or name another with --to"
        )


def _write(writer: Writer, topic: str, chunks: Iterator[Chunk], told: Progress) -> None:
    for part in _portions(chunks):
        writer.begin()
        try:
            writer.write(Output(TopicPartition(topic, part.tp.partition), part.keys, part.values))
            writer.commit()
        except BaseException:
            writer.abort()
            raise
        told.advanced(len(part))


def _portions(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """What goes into one transaction each."""
    for chunk in chunks:
        ends = chunk.keys.offsets[1:] - chunk.keys.offsets[0] + chunk.values.offsets[1:] - chunk.values.offsets[0]
        start = 0
        while start < len(chunk):
            before = int(ends[start - 1]) if start else 0
            stop = int(ends.searchsorted(before + TRANSACTION_BYTES, side="right"))
            stop = max(start + 1, min(stop, start + TRANSACTION_RECORDS))
            yield chunk.slice(start, stop)
            start = stop


def _rest(chunks: Iterator[Chunk], there: dict[int, int]) -> Iterator[Chunk]:
    """What comes after so many records of each partition."""
    left = dict(there)
    for chunk in chunks:
        skipped = min(left[chunk.tp.partition], len(chunk))
        left[chunk.tp.partition] -= skipped
        if skipped < len(chunk):
            yield chunk.slice(skipped)


def _heads(chunks: Iterator[Chunk], there: dict[int, int]) -> Iterator[Chunk]:
    """The first so many records of each partition."""
    left = dict(there)
    for chunk in chunks:
        kept = min(left[chunk.tp.partition], len(chunk))
        left[chunk.tp.partition] -= kept
        if kept:
            yield chunk.slice(0, kept)


def _check_whole(log: Log, topic: str, manifest: VersionManifest, told: Progress) -> None:
    told.begins("reading back", manifest.records)
    found = _trees(read_all(log, topic, settled=True), dict.fromkeys(range(log.partitions(topic)), 0), told)
    stray = [p for p, tree in found.items() if tree.count and p not in manifest.trees]
    root = forest_root({p: found[p] for p in manifest.trees})
    if stray or root != manifest.forest_root:
        raise DataError(
            f"{topic} does not hold version {manifest.version} (root {root[:12]}, not {manifest.forest_root[:12]}): "
            "did another program write to it? Delete it and restore again"
        )


def _trees(chunks: Iterator[Chunk], partitions: dict[int, int], told: Progress = SILENT) -> dict[int, HashTree]:
    builders = {p: TreeBuilder() for p in partitions}
    for chunk in chunks:
        builders[chunk.tp.partition].add(chunk.keys, chunk.values)
        told.advanced(len(chunk))
    return {p: b.tree() for p, b in builders.items()}
