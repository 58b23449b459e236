"""Keyed topics have equally many partitions: one key has one partition number everywhere, and one worker reads it.

``raw`` leads, for it is others who make its partitions more. It may have fewer than the rest, whose last partitions are
then empty.
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.declare.pipeline import Pipeline
from headrace.errors import ConfigError
from headrace.kafka.log import Log
from headrace.topics.table import TOPICS

RAW = "raw"


def keyed_partitions(log: Log, pipeline: Pipeline, names: Iterable[str] | None = None) -> dict[str, int]:
    """Topic (its short name) -> partitions, of the keyed ones among ``names`` (default: of all).

    Raises:
        ConfigError: one of them does not exist.
    """
    wanted = set(TOPICS if names is None else names)
    return {t.name: log.partitions(pipeline.topic(t.name)) for t in TOPICS.values() if t.keyed and t.name in wanted}


def add_missing_partitions(log: Log, pipeline: Pipeline) -> dict[str, tuple[int, int]]:
    """Give every keyed topic but raw as many partitions as the one that has most. Kafka takes none away.

    Returns:
        Topic -> how many partitions it had, and how many it has now.
    """
    there = keyed_partitions(log, pipeline)
    most = max(there.values())
    added = {}
    for name, count in there.items():
        if name != RAW and count < most:
            log.add_partitions(pipeline.topic(name), most)
            added[pipeline.topic(name)] = (count, most)
    return added


def uneven(log: Log, pipeline: Pipeline) -> list[str]:
    """One line for each way in which the partitions there are differ from what people may expect; none is an error."""
    there = keyed_partitions(log, pipeline)
    raw, most, declared = there[RAW], max(there.values()), pipeline.partitions
    name, lines = pipeline.topic(RAW), []
    alter = f"kafka-topics --alter --topic {name} --partitions"
    if raw < most:
        lines.append(
            f"{name} has {raw} partitions and the other keyed topics {most}: their last {most - raw} stay empty. "
            f"To use them: `{alter} {most}`"
        )
    if declared < raw:
        lines.append(
            f"{name} has {raw} partitions and the pipeline declares {declared}: {raw} are used, for Kafka takes none "
            f"away. Declare partitions={raw}"
        )
    if declared > raw:
        lines.append(
            f"{name} has {raw} partitions and the pipeline declares {declared}: {raw} are used. More of them move keys "
            f"to other partitions (docs/reliability.md), so add them yourself: `{alter} {declared}`, then `headrace "
            "init PIPELINE` again"
        )
    return lines


def check_partitions(log: Log, pipeline: Pipeline, names: Iterable[str]) -> None:
    """See that the keyed topics that a processor reads and writes have equally many partitions, raw at most as many.

    Raises:
        ConfigError: one has fewer.
    """
    there = keyed_partitions(log, pipeline, names)
    most = max(there, key=lambda name: there[name], default=RAW)
    fewer = [name for name, count in there.items() if name != RAW and count < there[most]]
    if fewer:
        told = ", ".join(f"{pipeline.topic(name)} {there[name]}" for name in fewer)
        raise ConfigError(
            f"{pipeline.topic(most)} has {there[most]} partitions, and fewer have {told}: "
            "run `headrace init PIPELINE`, which adds them"
        )
