"""Where a model's examples are read from: the topic, or a frozen version of it where Kafka has dropped them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from headrace.errors import ConfigError
from headrace.kafka.log import Chunk, read_range
from headrace.schema.records import Lineage
from headrace.topics.pipeline_topics import PipelineTopics


def examples_of(topics: PipelineTopics, lineage: Lineage, data_folder: Path) -> tuple[str, Iterable[Chunk]]:
    """What the examples are read from, in words, and the examples of a model's ranges in order.

    Raises:
        ConfigError: the topic does not hold them all, and no frozen version does.
        VersionDamaged: the version that does is not what was frozen.
    """
    name = topics.topic("examples")
    bounds = topics.log.bounds(name)
    asked = [r for r in lineage.ranges if r.start < r.stop]
    beyond = [r for r in asked if r.partition not in bounds or bounds[r.partition][1] < r.stop]
    dropped = [r for r in asked if r not in beyond and bounds[r.partition][0] > r.start]
    if not beyond and not dropped:
        wanted = {topics.tp("examples", r.partition): (r.start, r.stop) for r in asked}
        return name, read_range(topics.log, dict(sorted(wanted.items())))
    try:
        from headrace.jobs.versions.examples import archived_examples
    except ModuleNotFoundError as e:
        raise ConfigError(
            f"package {e.name} is missing to read frozen versions: pip install 'headrace[data]'"
        ) from None
    found = archived_examples(topics.pipeline.name, lineage.ranges, data_folder)
    if found is not None:
        return f"version {found.version} in {data_folder}", found.chunks
    one = (beyond or dropped)[0]
    has = f"{name}[{one.partition}] no longer holds" if dropped else f"{name}[{one.partition}] does not hold"
    raise ConfigError(
        f"{has} offsets {one.start} to {one.stop}, and no version in {data_folder} does: name the folder of frozen "
        "versions with --data (`headrace data guard` freezes what live models need before it is dropped)"
    )
