"""The examples a model was trained on, from a version of them, when the topic has them no longer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.jobs.versions.folder import DataFolder, Version
from headrace.jobs.versions.snapshot import root_of
from headrace.jobs.versions.verify import chunks_of, verified
from headrace.kafka.log import Chunk
from headrace.progress import SILENT, Progress
from headrace.schema.records import Lineage, OffsetRange

DATASET = "examples"


@dataclass(frozen=True)
class Archived:
    """A version that holds all of the ranges asked for, verified.

    Attributes:
        version: its name.
        chunks: the records of exactly these ranges, partition by partition in order, as they stood on the topic:
            offsets, keys and values. To be read once.
    """

    version: str
    chunks: Iterator[Chunk]


def archived_examples(
    pipeline: str, ranges: Sequence[OffsetRange], data_folder: Path, told: Progress = SILENT
) -> Archived | None:
    """The examples in ``ranges`` from a version of them; None where no version has them all.

    The version is pulled through DVC where only its ``.dvc`` file is here, and verified before a record is given.

    Args:
        pipeline: the pipeline's name.
        ranges: one range a partition, as in a model's lineage.
        data_folder: the setting ``data_folder``.
        told: told how far the check has come.

    Raises:
        VersionDamaged: the version is not what was frozen; the message names the file, the records and the mend.
        DataError: DVC cannot fetch it.
    """
    folder = DataFolder(data_folder)
    for version in folder.covering(pipeline, DATASET, ranges)[:1]:
        place = folder.fetched(version)
        manifest = verified(place, told)
        return Archived(version.name, chunks_of(place, manifest, list(ranges)))
    return None


def holds(folder: DataFolder, version: Version, lineage: Lineage) -> bool:
    """Whether a version that covers a model's ranges holds the very records the model's lineage is hashed over.

    Of a version of exactly these ranges its summary tells. Of a larger one the records are read, and pulled first
    where they are not here.

    Raises:
        VersionDamaged: the version is not what was frozen.
    """
    if version.summary is not None and version.summary.is_exactly(lineage.ranges):
        return lineage.root_hash == version.summary.forest_root
    place = folder.fetched(version)
    manifest = verified(place)
    chunks = chunks_of(place, manifest, lineage.ranges)
    return lineage.root_hash == root_of(chunks, [r.partition for r in lineage.ranges])
