"""A model made again from its manifest: to the same bytes, or the step is named at which it first differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from headrace.declare.pipeline import Pipeline
from headrace.errors import ConfigError
from headrace.governance.decisions import order_training
from headrace.jobs import hash_tree
from headrace.jobs.reproduce import Reproduction, reproduce
from headrace.jobs.train.algorithms import ALGORITHMS
from headrace.jobs.train.dataset import read_examples
from headrace.jobs.train.fit import train
from headrace.jobs.train.source import examples_of
from headrace.kafka.log import Chunk
from headrace.kafka.memory import MemoryLog
from headrace.schema.records import ModelManifest, OffsetRange
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import BEGIN, toy
from headrace.topics.pipeline_topics import PipelineTopics

pytestmark = pytest.mark.slow

STEPS = ("data", "code", "split", "fit", "export")


def with_examples(pipeline: Pipeline, count: int = 600) -> PipelineTopics:
    """A log in memory that holds examples in three partitions."""
    topics = in_memory(pipeline)
    random = np.random.default_rng(5)
    price = random.random(count)
    rows = pl.DataFrame(
        {
            "id": [f"c{i}" for i in range(count)],
            "key": [f"user{i % 9}" for i in range(count)],
            "event_time": [BEGIN + timedelta(seconds=30 * i) for i in range(count)],
            "raw_offset": np.arange(count),
            "price": price,
            "seen_10m": random.integers(0, 5, count),
            "label": (price + random.normal(0, 0.3, count) > 0.5).astype(float),
            "label_time": [BEGIN + timedelta(seconds=30 * i + 60) for i in range(count)],
            "feature_offset": np.arange(count),
            "label_offset": np.arange(count),
        }
    ).cast({n: t for n, t in topics.columns("examples").items()})  # noqa: C416
    writer = topics.log.writer("examples")
    writer.begin()
    for p in range(3):
        part = rows.filter(pl.int_range(pl.len()) % 3 == p)
        writer.write(topics.rows("examples", p, part, [k.encode() for k in part["key"]]))
    writer.commit()
    return topics


def trained(topics: PipelineTopics) -> ModelManifest:
    trigger = order_training(topics, "test", "")
    return train(topics.pipeline, trigger, read_examples(topics, trigger.ranges)).package.manifest


def again(topics: PipelineTopics, manifest: ModelManifest) -> Reproduction:
    return reproduce(topics, manifest, read_chunks(topics, manifest))


def read_chunks(topics: PipelineTopics, manifest: ModelManifest) -> list[Chunk]:
    _, chunks = examples_of(topics, manifest.lineage, Path("nowhere"))
    return list(chunks)


def only(algorithm: str) -> Pipeline:
    pipeline = toy("toy")
    return replace(pipeline, training=replace(pipeline.training, algorithms=(algorithm,)))  # type: ignore[arg-type]


def coded(pipeline: Pipeline) -> Pipeline:
    """With a feature that is a code, for which logistic regression needs more of ONNX."""
    return replace(pipeline, categorical=("seen_10m",))


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_comes_out_with_the_same_id(algorithm: str) -> None:
    topics = with_examples(coded(only(algorithm)))
    manifest = trained(topics)
    assert manifest.algorithm == algorithm
    found = again(topics, manifest)
    assert found.same
    assert [(s.name, s.same) for s in found.steps] == [(name, True) for name in STEPS]


def test_the_settings_of_then_are_used_where_they_have_changed_since() -> None:
    topics = with_examples(toy("toy"))
    manifest = trained(topics)
    pipeline = topics.pipeline
    other = replace(pipeline, training=replace(pipeline.training, seed=99, validation=timedelta(hours=1)))
    now = PipelineTopics(other, topics.log, topics.registry)
    found = again(now, manifest)
    assert found.same
    assert found.first_difference is not None
    assert found.first_difference.name == "code"
    assert "seed '7', now '99' (as it was is used)" in found.first_difference.said


def test_a_tampered_example_is_found_in_its_block() -> None:
    topics = with_examples(toy("toy"))
    manifest = trained(topics)
    assert isinstance(topics.log, MemoryLog)
    tp = topics.tp("examples", 1)
    [row] = topics.codec("examples").decode([topics.log.entries[tp][77].value]).frame().to_dicts()
    changed = pl.DataFrame([row | {"label": 1 - row["label"]}], schema=topics.columns("examples"))
    topics.log.overwrite(tp, 77, topics.codec("examples").encode(changed)[0])
    found = again(topics, manifest)
    first = found.first_difference
    assert first is not None
    assert first.name == "data"
    assert f"they differ in {tp} offsets " in first.said
    start, stop = (int(w) for w in first.said.split("offsets ")[1].split(" to "))
    assert start <= 77 <= stop
    assert stop - start < hash_tree.LEAF


def test_each_step_is_named_where_it_first_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = with_examples(toy("toy"))
    manifest = trained(topics)
    lineage = manifest.lineage

    def first(changed: ModelManifest) -> str:
        found = again(topics, changed)
        assert found.first_difference is not None
        return found.first_difference.name

    assert first(manifest.model_copy(update={"lineage": lineage.model_copy(update={"root_hash": "0"})})) == "data"
    for update in ({"code_version": "0.0+a.b"}, {"lock_hash": "0"}, {"runtime": "0"}):
        assert first(manifest.model_copy(update={"lineage": lineage.model_copy(update=update)})) == "code"
    later = {"train_until": lineage.train_until + timedelta(minutes=1)}
    assert first(manifest.model_copy(update={"lineage": lineage.model_copy(update=later)})) == "split"
    assert first(manifest.model_copy(update={"lineage": lineage.model_copy(update={"fit_hash": "0"})})) == "fit"
    assert first(manifest.model_copy(update={"algorithm": "other"})) == "fit"
    assert first(manifest.model_copy(update={"model_id": "0"})) == "export"
    packages = lineage.model_copy(update={"lock_hash": "0", "packages": {**lineage.packages, "numpy": "1.0"}})
    said = again(topics, manifest.model_copy(update={"lineage": packages})).first_difference
    assert said is not None
    assert said.said.startswith("numpy 1.0, now ")


def test_a_manifest_of_another_pipeline_or_of_other_features_is_one_clear_line() -> None:
    topics = with_examples(toy("toy"))
    manifest = trained(topics)
    short = manifest.model_id[:12]
    with pytest.raises(ConfigError, match=f"^model {short} is of pipeline other, not of toy$"):
        again(topics, manifest.model_copy(update={"pipeline": "other"}))
    with pytest.raises(ConfigError, match=f"^model {short} was trained on other features than toy has now"):
        again(topics, manifest.model_copy(update={"feature_schema": "0"}))


def test_examples_that_are_nowhere_are_one_clear_line() -> None:
    topics = with_examples(toy("toy"))
    manifest = trained(topics)
    beyond = manifest.lineage.model_copy(update={"ranges": [OffsetRange(partition=2, start=0, stop=10_000)]})
    with pytest.raises(ConfigError, match=r"^toy.examples\[2\] does not hold offsets 0 to 10000, and no version in "):
        read_chunks(topics, manifest.model_copy(update={"lineage": beyond}))


TRAINED = """
import json, sys
from tests.unit.test_reproduce import coded, only, trained, with_examples
models = {a: trained(with_examples(coded(only(a)), 3000)) for a in ("boosting", "logistic")}
print(json.dumps({a: [m.model_id, m.lineage.fit_hash] for a, m in models.items()}))
"""


def test_neither_threads_nor_the_seed_of_hashes_change_a_bit() -> None:
    found = []
    for number in ("1", "2", "3", "4"):
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED"), number)
        done = subprocess.run(
            [sys.executable, "-c", TRAINED], env=environment, capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout))
    assert found == [found[0]] * 4
