"""What live models were trained on, and whether the topic still has it: archived before Kafka drops it.

A model is live while a policy could name it: it rules, ruled once (a rollback may call it back), or was published and
not rejected. Kafka drops records of a topic once they are older than its retention; a topic that keeps them by size
alone (``retention.bytes``) is not foreseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from headrace.errors import ConfigError
from headrace.governance.catalog import Governance, Published, governance, published
from headrace.jobs.versions import dvc
from headrace.jobs.versions.examples import DATASET, holds
from headrace.jobs.versions.folder import DataFolder, Version
from headrace.jobs.versions.snapshot import Snapshot, keep, snapshot
from headrace.kafka.log import Log
from headrace.progress import SILENT, Progress
from headrace.schema.records import ModelManifest, OffsetRange
from headrace.topics.pipeline_topics import PipelineTopics

State = Literal["safe", "due", "archived", "dropped and archived", "dropped, NOT archived", "not what it was"]
PRECISION = timedelta(seconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Kept:
    """How the examples of one live model stand.

    Attributes:
        state: ``safe``: not about to be dropped; ``due``: about to be, and in no version yet (only where nothing is
            archived); ``archived``: in a version; ``dropped``: some are no longer on the topic; ``not what it was``:
            the topic holds other records there than the model was trained on, so that a version of them is no use.
        version: the version that holds them.
        goes: when the first of them may be dropped; None: never, or it has been.
    """

    model_id: str
    ranges: list[OffsetRange]
    state: State
    version: str | None
    goes: datetime | None


def live_models(models: dict[str, Published], state: Governance) -> list[ModelManifest]:
    """The models that a policy names, named, or may come to name, in the order of publication."""
    ruled = {m for a in state.activations.values() for m in a.policy.models}
    return [p.manifest for m, p in models.items() if m in ruled or m not in state.rejected]


def guard(
    topics: PipelineTopics,
    folder: DataFolder,
    within: timedelta,
    *,
    archive: bool,
    now: datetime,
    told: Progress = SILENT,
) -> list[Kept]:
    """How the examples of each live model stand; those about to be dropped are archived first, where ``archive``.

    It may be killed and repeated: what is archived stays, and is not archived twice.

    Args:
        topics: the pipeline's topics.
        folder: the data folder.
        within: how soon is about to.
        archive: make versions of what is about to be dropped; push them where DVC has a default remote.
        now: the time.
        told: told how far it has come.

    Raises:
        VersionDamaged: a version that should hold examples is not what was frozen.
        DataError: the data folder cannot be written, or DVC failed.
    """
    log, topic = topics.log, topics.topic(DATASET)
    kept_for = log.retention(topic)
    due = log.offsets_at(topic, now - kept_for + within) if kept_for is not None else {}
    found = []
    for manifest in live_models(published(topics), governance(topics)):
        ranges = [r for r in manifest.lineage.ranges if r.start < r.stop]
        version = _archive_of(folder, topics.pipeline.name, manifest)
        dropped = _dropped(topics, ranges)
        soon = any(r.start < due.get(r.partition, 0) for r in ranges)
        other = False
        if soon and not dropped and version is None and archive:
            try:
                version = _archived(topics, manifest, folder, told)
                other = version is None
            except ConfigError:
                dropped = _dropped(topics, ranges)  # while they were read
                if not dropped:
                    raise
        elif version is not None and archive:
            _kept(folder, version)
        goes = _goes(log, topic, ranges, now) + kept_for if ranges and kept_for and not dropped else None
        name = version.name if version else None
        state: State = "not what it was" if other else _state(name, dropped=dropped, due=soon)
        found.append(Kept(manifest.model_id, ranges, state, name, goes))
    return found


def _dropped(topics: PipelineTopics, ranges: Sequence[OffsetRange]) -> bool:
    """Whether some of the examples are no longer on the topic."""
    bounds = topics.log.bounds(topics.topic(DATASET))
    return any(r.start < bounds.get(r.partition, (r.stop, r.stop))[0] for r in ranges)


def _state(version: str | None, *, dropped: bool, due: bool) -> State:
    if dropped:
        return "dropped and archived" if version else "dropped, NOT archived"
    if version:
        return "archived"
    return "due" if due else "safe"


def _archive_of(folder: DataFolder, pipeline: str, manifest: ModelManifest) -> Version | None:
    """The version that holds the very examples of a model."""
    if not any(r.start < r.stop for r in manifest.lineage.ranges):
        return None
    versions = folder.covering(pipeline, DATASET, manifest.lineage.ranges)
    return next((v for v in versions if holds(folder, v, manifest.lineage)), None)


def _archived(topics: PipelineTopics, manifest: ModelManifest, folder: DataFolder, told: Progress) -> Version | None:
    """Make a version of a model's examples; None where they are not those it was trained on.

    Raises:
        ConfigError: DVC is not installed, or they were dropped at this moment.
    """
    done = snapshot(topics, DATASET, manifest.lineage.ranges, folder, push=dvc.has_remote(folder.path), told=told)
    version = Version(done.folder, "local", done.summary)
    return version if holds(folder, version, manifest.lineage) else None


def _kept(folder: DataFolder, version: Version) -> None:
    """Put a version under DVC that an interrupted run has left without."""
    if version.state == "local" and version.summary is not None:
        keep(folder, Snapshot(version.summary, version.folder, written=False), push=False)


def _goes(log: Log, topic: str, ranges: Sequence[OffsetRange], now: datetime) -> datetime:
    """When the first record of the ranges came, to the second: found by halving, as a log tells offsets of times."""

    def came(when: datetime) -> bool:
        offsets = log.offsets_at(topic, when)
        return any(offsets[r.partition] > r.start for r in ranges)

    early, late = EPOCH, now + PRECISION
    if not came(late):
        return late
    while late - early > PRECISION:
        middle = early + (late - early) / 2
        early, late = (early, middle) if came(middle) else (middle, late)
    return early.replace(microsecond=0)


def lost(found: Sequence[Kept]) -> Iterator[Kept]:
    """Those whose examples are gone for good."""
    return (k for k in found if k.state in ("dropped, NOT archived", "not what it was"))
