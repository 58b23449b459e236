"""Which prediction is asked about: by its coordinates, or by the id of what was scored."""

from __future__ import annotations

import re

import polars as pl

from headrace.errors import ConfigError
from headrace.kafka.coordinate import Coordinate
from headrace.kafka.log import TopicPartition, read_all
from headrace.progress import SILENT, Progress
from headrace.topics.pipeline_topics import PipelineTopics


def find(topics: PipelineTopics, asked: str, progress: Progress = SILENT) -> tuple[Coordinate, list[Coordinate]]:
    """The prediction that ``asked`` names, and other answers about the same id, oldest first.

    Args:
        topics: the pipeline's topics.
        asked: ``partition:offset`` of a prediction, or an id. Of several answers about an id, the newest is meant.
        progress: told how far the search has come.

    Raises:
        ConfigError: there is no such prediction.
    """
    name = topics.topic("predictions")
    if re.fullmatch(r"\d+:\d+", asked):
        place = Coordinate.parse(asked, "a prediction")
        bounds = topics.log.bounds(name)
        if place.partition not in bounds:
            raise ConfigError(f"{name} has {len(bounds)} partitions: there is no {place.partition}")
        first, end = bounds[place.partition]
        if not first <= place.offset < end:
            dropped = ": it has been dropped" if place.offset < first else ""
            raise ConfigError(f"{name}[{place.partition}] holds offsets {first} to {end}, not {place.offset}{dropped}")
        return place, []
    answers = _of_id(topics, asked, progress)
    if not answers:
        raise ConfigError(
            f"{name} holds no answer about id {asked!r}: it may wait for a model, have given a dead letter (`headrace "
            f"dead list {topics.pipeline.name}`), or be past retention; ids are the pipeline's {topics.pipeline.id!r}"
        )
    return answers[-1], answers[:-1]


def _of_id(topics: PipelineTopics, wanted: str, progress: Progress) -> list[Coordinate]:
    """Answers about an id in the order of their event time."""
    bounds = topics.log.bounds(topics.topic("predictions"))
    progress.begins("searching", sum(end - first for first, end in bounds.values()))
    found: list[tuple[object, Coordinate]] = []
    codec = topics.codec("predictions")
    for chunk in read_all(topics.log, topics.topic("predictions")):
        decoded = codec.decode(chunk.values)
        frame = decoded.frame(names=["id", "route", "event_time"])
        offsets = pl.Series("o", chunk.offsets[decoded.places()])
        mine = frame.with_columns(offsets).filter((pl.col("id") == wanted) & (pl.col("route") != "shadow"))
        found += [(t, Coordinate(chunk.tp.partition, o)) for t, o in mine.select("event_time", "o").iter_rows()]
        progress.advanced(len(chunk))
    return [place for _, place in sorted(found)]


def where(tp: TopicPartition, offset: int) -> str:
    """Coordinates as people read them."""
    return f"{tp} {offset}"
