"""What a version says of itself: its ranges, its hashes, its files. It stands beside the files as ``manifest.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from headrace.errors import VersionDamaged
from headrace.jobs.hash_tree import HashTree, forest_root
from headrace.schema.records import OffsetRange

FORMAT = 1
MANIFEST = "manifest.json"
ID_LENGTH = 12


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Summary(_Part):
    """What is known of a version without its files.

    Attributes:
        ranges: the offsets asked for, one range a partition, in order of partition.
        forest_root: the hash over every key and value (:mod:`headrace.jobs.hash_tree`).
        bytes: of the Parquet files together.
    """

    version: str
    pipeline: str
    dataset: str
    ranges: list[OffsetRange]
    records: int
    forest_root: str
    bytes: int
    created_at: datetime

    def covers(self, ranges: Sequence[OffsetRange]) -> bool:
        """Whether every record of ``ranges`` is in this version."""
        own = {r.partition: r for r in self.ranges}
        return all(
            r.partition in own and own[r.partition].start <= r.start and r.stop <= own[r.partition].stop
            for r in ranges
            if r.start < r.stop
        )

    def is_exactly(self, ranges: Sequence[OffsetRange]) -> bool:
        """Whether these are this version's ranges, empty ones aside."""
        return _sized(self.ranges) == _sized(ranges)


class DataFile(_Part):
    """One Parquet file: its records, their first and last offset, its size and its sha-256."""

    name: str
    records: int
    first: int
    last: int
    bytes: int
    sha256: str


class Partition(_Part):
    """One partition's records: the blocks of their hash tree (hex), and the files they are in, in log order."""

    partition: int
    records: int
    block: int
    blocks: list[str]
    files: list[DataFile]

    @property
    def tree(self) -> HashTree:
        return HashTree(self.records, self.block, tuple(bytes.fromhex(b) for b in self.blocks))


class VersionManifest(Summary):
    """Everything a version says of itself.

    Attributes:
        topic: full name of the topic.
        topic_partitions: how many partitions it had.
        undecoded: records whose decoded columns are null: of another type than the topic's first, or damaged.
        avro_schema: schema of the decoded columns, and its fingerprint (sha-256 of the parsing canonical form).
        partitions: for each range, in its order, what is in it.
        checksum: sha-256 over all the rest, so that no change goes unseen.
    """

    format: int
    topic: str
    topic_partitions: int
    undecoded: int
    avro_schema: dict[str, Any]
    schema_fingerprint: str
    partitions: list[Partition]
    headrace: str
    checksum: str = ""

    @property
    def summary(self) -> Summary:
        return Summary.model_validate(self.model_dump(include=set(Summary.model_fields)))

    @property
    def trees(self) -> dict[int, HashTree]:
        return {p.partition: p.tree for p in self.partitions}

    def sealed(self) -> VersionManifest:
        """The same with its checksum."""
        return self.model_copy(update={"checksum": self._sum()})

    def text(self) -> str:
        """The manifest as it is written."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"

    def fault(self) -> str:
        """What in this manifest does not fit the rest of it; nothing where all does."""
        if self.checksum != self._sum():
            return "its checksum is not that of what it says"
        if self.forest_root != forest_root(self.trees):
            return "its root does not follow from its blocks"
        if self.version != version_id(self.pipeline, self.dataset, self.ranges, self.forest_root):
            return "its version does not follow from its ranges and root"
        if [r.partition for r in self.ranges] != [p.partition for p in self.partitions]:
            return "its ranges and partitions do not fit"
        if any(sum(f.records for f in p.files) != p.records for p in self.partitions):
            return "its files do not add up"
        return ""

    def _sum(self) -> str:
        said = self.model_dump(mode="json", exclude={"checksum"})
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def version_id(pipeline: str, dataset: str, ranges: Sequence[OffsetRange], root: str) -> str:
    """The name of a version: the first 12 hex digits of sha-256 over JSON of what it is of and its root."""
    said = [pipeline, dataset, [[r.partition, r.start, r.stop] for r in ranges], root]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:ID_LENGTH]


def load_manifest(folder: Path) -> VersionManifest:
    """The manifest of the version in ``folder``.

    Raises:
        VersionDamaged: it is missing, unreadable, or was changed.
    """
    file = folder / MANIFEST
    try:
        said: Mapping[str, Any] = json.loads(file.read_text())
        if isinstance(said, dict) and isinstance(said.get("format"), int) and said["format"] > FORMAT:
            raise VersionDamaged(f"{file} is of format {said['format']}: a later headrace wrote it; use that one")
        manifest = VersionManifest.model_validate(said)
        fault = manifest.fault()
    except FileNotFoundError:
        raise VersionDamaged(f"{file} is missing: {mend(folder)}") from None
    except (OSError, ValidationError) as e:
        why = e.errors()[0]["msg"] if isinstance(e, ValidationError) else e.strerror
        raise VersionDamaged(f"{file} cannot be read ({why}): {mend(folder)}") from None
    except ValueError as e:
        raise VersionDamaged(f"{file} cannot be read ({e}): {mend(folder)}") from None
    own = (manifest.pipeline, manifest.dataset, manifest.version)
    if not fault and own != folder.absolute().parts[-3:]:
        fault = f"it is of version {'/'.join(own)}"
    if fault:
        raise VersionDamaged(f"{file} was changed: {fault}; {mend(folder)}")
    return manifest


def mend(folder: Path) -> str:
    """How a damaged version is made whole."""
    return f"remove {folder} and run again: it is taken anew from DVC or from the topic"


def _sized(ranges: Sequence[OffsetRange]) -> list[OffsetRange]:
    return sorted((r for r in ranges if r.start < r.stop), key=lambda r: r.partition)
