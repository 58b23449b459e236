"""A pipeline whose features gained a column: what older records, examples and models are to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from headrace.declare.pipeline import Pipeline
from headrace.errors import SchemaError, TrainingRefused
from headrace.jobs.gates.gates import GateCase, contract
from headrace.jobs.train.dataset import complete, split
from headrace.models.score.session import ScoringModel
from headrace.testing.memory import in_memory
from headrace.testing.models import model_package
from headrace.testing.pipelines import BEGIN, features, toy
from headrace.topics.pipeline_topics import PipelineTopics

OLD = toy("shop", partitions=1)


def doubled(events: pl.DataFrame) -> pl.DataFrame:
    return features(events).with_columns(ratio=pl.col("price") * 2, name=pl.lit("x"))


NEW = replace(OLD, features=doubled, added=("ratio", "name"))
PRICES = [0.25, 0.5, 0.75]


def rows(pipeline: Pipeline, count: int) -> pl.DataFrame:
    made = {"id": [f"c{i}" for i in range(count)], "key": ["k"] * count, "raw_offset": list(range(count))}
    times = [BEGIN + timedelta(minutes=i) for i in range(count)]
    columns = {"price": [PRICES[i % 3] for i in range(count)], "seen_10m": [1] * count}
    more = {"ratio": [2.0] * count, "name": ["x"] * count} if pipeline is NEW else {}
    return pl.DataFrame({**made, "event_time": times, **columns, **more})


def test_records_of_before_have_null_there() -> None:
    topics = in_memory(OLD)
    written = topics.codec("features").encode(rows(OLD, 2))
    later = PipelineTopics(NEW, topics.log, topics.registry)
    assert later.codec("features").decode(written).frame()["ratio"].to_list() == [None, None]
    matrix = later.codec("features").decode(written).matrix(["price", "ratio"])
    assert np.array_equal(matrix, [[0.25, np.nan], [0.5, np.nan]], equal_nan=True)


def test_a_model_that_lacks_the_column_scores_old_and_new_records_alike() -> None:
    topics = in_memory(OLD)
    later = PipelineTopics(NEW, topics.log, topics.registry)
    later.init()
    model = ScoringModel(model_package(OLD, 1))
    before, after = topics.codec("features"), later.codec("features")
    values = [*before.encode(rows(OLD, 3)), *after.encode(rows(NEW, 3))]
    scores = [model.score(codec.decode(values).matrix(model.manifest.features)) for codec in (before, after)]
    assert np.array_equal(scores[0], scores[1])
    assert np.array_equal(scores[1][:3], scores[1][3:])


def test_training_and_gates_take_the_examples_that_have_what_the_model_uses() -> None:
    old, new = rows(OLD, 100), rows(NEW, 100)
    both = pl.concat([old, new], how="diagonal").with_columns(label=pl.col("raw_offset") % 2.0)
    assert complete(NEW, NEW.inputs, both).height == 100
    assert complete(NEW, OLD.inputs, both).height == 200
    parts = split(NEW, both)
    assert len(parts.train.y) + len(parts.validation.y) == 100
    assert np.isfinite(parts.train.x).all()
    with pytest.raises(TrainingRefused, match=r"^0 examples; pipeline shop trains on 50 or more$"):
        split(NEW, both.head(100))


@pytest.mark.parametrize(
    ("pipeline", "passed"),
    [
        (OLD, True),
        (replace(OLD, features=doubled, added=("ratio",)), False),
        (NEW, True),
        (replace(NEW, added=()), False),
    ],
)
def test_a_model_of_before_fits_where_only_added_columns_came(pipeline: Pipeline, passed: bool) -> None:
    case = GateCase(pipeline, model_package(OLD, 1), None, pl.DataFrame(), [])
    assert contract(case).passed == passed


def test_a_column_that_features_does_not_give_cannot_be_added() -> None:
    with pytest.raises(SchemaError, match=r"^pipeline shop: no such feature: nothing$"):
        replace(OLD, added=("nothing",))
