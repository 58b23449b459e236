"""Examples from the log: exactly the ranges a trigger pins, hashed, and split by event time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from headrace.declare.pipeline import Pipeline
from headrace.errors import TrainingRefused
from headrace.jobs.hash_tree import HashTree, TreeBuilder, forest_root
from headrace.kafka.log import Chunk, read_range
from headrace.models.inputs import matrix, usable
from headrace.models.score.feeding import Matrix
from headrace.schema.records import OffsetRange
from headrace.topics.pipeline_topics import PipelineTopics

Labels = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True)
class Examples:
    """Examples in the order of partition and offset, and the hash tree of each partition's.

    ``left_out``: how many more were read whose label is none of the target's, or whose features no model can take. The
    log may hold some from before they were stopped where they appear.
    """

    rows: pl.DataFrame
    trees: dict[int, HashTree]
    left_out: int = 0

    @property
    def count(self) -> int:
        """How many were read."""
        return self.rows.height + self.left_out

    @property
    def root_hash(self) -> str:
        """The hash that stands for them all, hex."""
        return forest_root(self.trees)


@dataclass(frozen=True)
class Part:
    """One side of the split: x float32 (n, features), y float64 (n,) of 0 and 1."""

    x: Matrix
    y: Labels


@dataclass(frozen=True)
class Split:
    """Training before ``train_until``, validation from there to before ``validation_until``."""

    train: Part
    validation: Part
    train_until: datetime
    validation_until: datetime


def read_examples(topics: PipelineTopics, ranges: Sequence[OffsetRange]) -> Examples:
    """Read the examples in the ranges from the topic."""
    wanted = {topics.tp("examples", r.partition): (r.start, r.stop) for r in ranges}
    return gathered(topics, ranges, read_range(topics.log, dict(sorted(wanted.items()))))


def gathered(topics: PipelineTopics, ranges: Sequence[OffsetRange], chunks: Iterable[Chunk]) -> Examples:
    """Examples from the chunks of the ranges, wherever these are kept, in the order of partition and offset."""
    trees = {r.partition: TreeBuilder() for r in ranges}
    frames = []
    codec = topics.codec("examples")
    for chunk in chunks:
        trees[chunk.tp.partition].add(chunk.keys, chunk.values)
        frames.append(codec.decode(chunk.values).frame())
    rows = pl.concat(frames) if frames else pl.DataFrame(schema=topics.columns("examples"))
    sound = rows.filter(usable(topics.pipeline, rows))
    return Examples(sound, {p: b.tree() for p, b in trees.items()}, rows.height - sound.height)


def complete(pipeline: Pipeline, features: Collection[str], rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that have these features: all but those written before one of them was added."""
    needed = [name for name in pipeline.added if name in features]
    return rows.drop_nulls(needed) if needed else rows


def split(pipeline: Pipeline, examples: pl.DataFrame) -> Split:
    """Split by event time: the newest span is for validation, what comes before it for training.

    Raises:
        TrainingRefused: too few examples on a side, or only one class.
    """
    training = pipeline.training
    examples = complete(pipeline, pipeline.inputs, examples)
    if examples.height < training.minimum:
        raise TrainingRefused(
            f"{examples.height} examples; pipeline {pipeline.name} trains on {training.minimum} or more"
        )
    newest = examples["event_time"].max()
    assert isinstance(newest, datetime)
    until = newest + timedelta(microseconds=1)
    start = until - training.validation
    time = pl.col("event_time")
    older = time < start
    if training.window is not None:
        older &= time >= until - training.window
    train = part(pipeline, examples.filter(older))
    validation = part(pipeline, examples.filter(time >= start))
    for name, side in (("training", train), ("validation", validation)):
        if len(np.unique(side.y)) < 2:
            raise TrainingRefused(
                f"the {name} set ({len(side.y)} examples, split at {start:%Y-%m-%d %H:%M}) does not hold both classes"
            )
    return Split(train, validation, start, until)


def part(pipeline: Pipeline, rows: pl.DataFrame) -> Part:
    """The features and labels of rows."""
    return Part(matrix(rows, pipeline.inputs), rows["label"].to_numpy())
