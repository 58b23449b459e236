"""Values on their way to a model: what no model can take is stopped where it appears, and rounded in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.declare.pipeline import Pipeline
from headrace.governance.decisions import every_example
from headrace.jobs.train.algorithms import ALGORITHMS
from headrace.jobs.train.dataset import Examples, Part, part, read_examples
from headrace.jobs.train.export import Exported, to_onnx_bytes
from headrace.jobs.train.fit import Trained, train
from headrace.jobs.train.job import LEFT_OUT
from headrace.kafka.log import Chunk
from headrace.models.inputs import matrix
from headrace.schema.records import DeadLetter, TrainingTrigger
from headrace.streams.join.processor import Join
from headrace.testing import MemoryPlatform
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import clicks, toy
from headrace.topics.pipeline_topics import PipelineTopics

OVER = "which is infinite as the 32-bit float that models take"
CODES = "a category is a whole number from -2^24 to 2^24"


def one(**changed: Any) -> Pipeline:
    """The toy on one partition."""
    return replace(toy("inputs", partitions=1), **changed)


def letters(topics: PipelineTopics) -> list[tuple[str, str, str]]:
    """Stage, code and reason of the dead letters."""
    found = (r for _, r in topics.read_control("dead"))
    return [(r.stage, r.code, r.reason) for r in found if isinstance(r, DeadLetter)]


def run(pipeline: Pipeline, events: pl.DataFrame) -> MemoryPlatform:
    """Preprocess and join events."""
    platform = MemoryPlatform(pipeline)
    platform.push(events)
    platform.run("preprocess", "join")
    return platform


def trained(topics: PipelineTopics) -> Trained:
    """A training on every example there is."""
    ranges = every_example(topics)
    trigger = TrainingTrigger(trigger_id="t", reason="person", detail="", requester="ann", ranges=ranges)
    return train(topics.pipeline, trigger, read_examples(topics, ranges))


def priced(price: float, click: str = "c100") -> pl.DataFrame:
    """Clicks of which one has another price."""
    there = pl.when(pl.col("click_id") == click).then(pl.lit(price)).otherwise("price")
    return clicks(0, 400).with_columns(price=there)


@pytest.mark.parametrize(
    ("price", "said"),
    [
        (1e39, OVER),
        (-1e39, OVER),
        (3.4028235677973366e38, OVER),
        (float("inf"), ""),
        (float("nan"), ""),
    ],
)
def test_a_number_that_no_float32_holds_is_one_dead_letter_and_harms_no_training(price: float, said: str) -> None:
    platform = run(one(), priced(price))
    wanted = f"features() gave price = {price}" + (f", {said}" if said else "")
    found = letters(platform.topics)
    assert [(stage, code) for stage, code, _ in found] == [("preprocess", "feature_not_finite")]
    assert [reason for _, _, reason in found] == [wanted]
    assert trained(platform.topics).package.manifest.metrics["count"] > 0


@pytest.mark.parametrize("price", [3.4028235677973362e38, 1e-46, -0.0])
def test_a_number_that_is_rounded_into_a_float32_passes(price: float) -> None:
    assert letters(run(one(), priced(price)).topics) == []


def labelled(label: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def labels(events: pl.DataFrame) -> pl.DataFrame:
        return events.filter(pl.col("kind") == "result").select("offset", label.alias("label"))

    return labels


BOUGHT = pl.col("bought").cast(pl.Float64)


@pytest.mark.parametrize("label", [2.0, -1.0, 0.5, float("nan"), float("inf"), None])
def test_a_label_outside_the_targets_set_is_one_dead_letter_and_harms_no_training(label: float | None) -> None:
    odd = pl.when(pl.col("click_id") == "c100").then(pl.lit(label, dtype=pl.Float64)).otherwise(BOUGHT)
    platform = run(one(labels=labelled(odd)), clicks(0, 400))
    said = f"labels() gave label = {label}; a label of bought is 0 or 1"
    assert letters(platform.topics) == [("preprocess", "label_not_valid", said)]
    assert platform.rows("examples").height == 399
    assert trained(platform.topics).package.manifest.metrics.keys() & {LEFT_OUT} == set()


@pytest.mark.parametrize("label", [pl.col("bought"), pl.col("bought").cast(pl.Int64), BOUGHT.cast(pl.Float32)])
def test_labels_may_be_booleans_or_numbers(label: pl.Expr) -> None:
    platform = run(one(labels=labelled(label)), clicks(0, 50))
    assert letters(platform.topics) == []
    assert set(platform.rows("labels")["label"]) == {0.0, 1.0}


def test_labels_that_are_text_are_refused_by_name() -> None:
    text = pl.col("bought").cast(pl.Int8).cast(pl.String)
    platform = run(one(labels=labelled(text), failure_limit=1.0), clicks(0, 2))
    assert [(stage, code) for stage, code, _ in letters(platform.topics)] == [("preprocess", "processor_failed")] * 4
    assert letters(platform.topics)[0][2].endswith("gave 'label' as String: give numbers or booleans")


def test_a_label_that_came_another_way_is_stopped_in_the_join() -> None:
    topics = in_memory(one())
    join = Join(topics)
    join.assigned([topics.tp(name) for name in ("features", "labels", "predictions")])
    platform = MemoryPlatform(one())
    platform.push(clicks(0, 1))
    platform.run("preprocess")
    row = platform.rows("labels").drop("@partition", "@offset")
    odd = pl.concat([row.with_columns(label=pl.lit(v)) for v in (2.0, float("nan"), 1.0)])
    batch = Chunk.of(topics.tp("labels"), [0, 1, 2], [b"k"] * 3, topics.codec("labels").encode(odd))
    dead = [v for o in join.process(batch).outputs if o.tp.topic == topics.topic("dead") for v in o.values]
    found = topics.codec("dead").decode(dead).frame()
    assert found.select("code", "offset").rows() == [("label_not_valid", 0), ("label_not_valid", 1)]


def test_examples_of_before_that_no_model_can_learn_from_are_left_out_and_counted() -> None:
    platform = run(one(), clicks(0, 400))
    row = platform.rows("examples").drop("@partition", "@offset").tail(1)
    bad = pl.concat(
        [
            row.with_columns(label=pl.lit(2.0)),
            row.with_columns(label=pl.lit(float("nan"))),
            row.with_columns(price=pl.lit(1e39)),
        ]
    )
    topics = platform.topics
    tp = topics.tp("examples")
    end = platform.log.bounds(tp.topic)[0][1]
    platform.log.place(Chunk.of(tp, range(end, end + 3), [b"k"] * 3, topics.codec("examples").encode(bad)))
    manifest = trained(topics).package.manifest
    assert manifest.metrics[LEFT_OUT] == 3
    assert manifest.lineage.records == 403
    examples = read_examples(topics, every_example(topics))
    assert (examples.rows.height, examples.left_out, examples.count) == (400, 3, 403)
    assert isinstance(examples, Examples)


integers = st.integers(-(2**63), 2**63 - 1)


def _served(topics: PipelineTopics, values: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A long feature as the worker reads it from the log."""
    count = len(values)
    rows = pl.DataFrame(
        {
            "id": ["c"] * count,
            "key": ["k"] * count,
            "event_time": pl.Series([0] * count).cast(pl.Datetime("us", "UTC")),
            "raw_offset": [0] * count,
            "price": [0.0] * count,
            "seen_10m": pl.Series(values, dtype=pl.Int64),
        }
    )
    codec = topics.codec("features")
    return codec.decode(codec.encode(rows)).matrix(["seen_10m"])


TOPICS = in_memory(one())


@given(st.lists(st.one_of(integers, st.just(18014399583223809)), min_size=1, max_size=20))
def test_training_and_serving_round_integers_alike(values: list[int]) -> None:
    frame = pl.DataFrame({"seen_10m": pl.Series(values, dtype=pl.Int64)})
    assert matrix(frame, ["seen_10m"]).tobytes() == _served(TOPICS, values).tobytes()


def test_an_integer_over_two_to_the_53_is_the_same_to_training_and_to_the_worker() -> None:
    platform = MemoryPlatform(one(features=lambda e: e.select("offset", big=pl.lit(18014399583223809), price="price")))
    platform.push(clicks(0, 400))
    platform.run("preprocess")
    assert platform.rows("features")["big"].unique().to_list() == [18014399583223809]
    rows = platform.rows("features").with_columns(label=pl.lit(1.0))
    assert set(part(platform.topics.pipeline, rows).x[:, 0].tolist()) == {18014398509481984.0}


def coded(dtype: type[pl.DataType] = pl.Float64) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def features(events: pl.DataFrame) -> pl.DataFrame:
        seen = events.filter(pl.col("kind") == "seen")
        return seen.select("offset", pl.col("price").cast(dtype).alias("tariff"), pl.col("price").alias("x"))

    return features


@pytest.mark.parametrize(
    ("code", "dtype", "said"),
    [
        (0.5, pl.Float64, f"tariff = 0.5; {CODES}"),
        (20_000_001.0, pl.Float64, f"tariff = 20000001.0; {CODES}"),
        (20_000_001.0, pl.Int64, f"tariff = 20000001; {CODES}"),
    ],
)
def test_a_code_that_is_no_whole_float32_is_a_dead_letter(code: float, dtype: type[pl.DataType], said: str) -> None:
    events = clicks(0, 20).with_columns(price=pl.lit(3.0))
    there = pl.when(pl.col("click_id") == "c7").then(pl.lit(code)).otherwise("price")
    platform = run(one(features=coded(dtype), categorical=("tariff",)), events.with_columns(price=there))
    assert letters(platform.topics) == [("preprocess", "category_not_whole", f"features() gave {said}")]
    assert platform.rows("features").height == 19


def _fits() -> Iterator[tuple[str, list[float]]]:
    for algorithm in ALGORITHMS:
        for codes in ([0.0, 1.0, 2.0], [-1.0, 0.0, 1.0], [0.0, float(2**24), -float(2**24)], [5.0]):
            yield algorithm, codes


@pytest.mark.parametrize(("algorithm", "codes"), list(_fits()))
def test_every_number_is_the_category_in_onnx_that_it_is_in_scikit_learn(algorithm: str, codes: list[float]) -> None:
    pipeline = one(features=coded(), categorical=("tariff",))
    random = np.random.default_rng(3)
    x = np.stack([random.choice(codes, 600), random.random(600)], axis=1).astype(np.float32)
    y = (random.random(600) < 0.3 + 0.2 * (x[:, 0] == codes[0])).astype(np.float64)
    model = ALGORITHMS[algorithm](pipeline, Part(x, y)).model
    exported = Exported(to_onnx_bytes(model, 2))
    others = [0.5, 1.7, -0.3, 7.0, 1e10, -1e10, 3e38, -3e38, 2.0**31, 2.0**63, -(2.0**63)]
    tried = np.array([[c, 0.5] for c in [*codes, *others]], dtype=np.float32)
    assert exported.scores(tried) == pytest.approx(model.predict_proba(tried)[:, 1], abs=1e-6)


def test_each_of_several_categories_is_compared_by_value() -> None:
    def features(events: pl.DataFrame) -> pl.DataFrame:
        return events.select("offset", a="price", x="price", b=pl.col("price").cast(pl.Int64))

    pipeline = one(features=features, categorical=("a", "b"))
    random = np.random.default_rng(4)
    x = np.stack([random.choice([0, 1, 2], 600), random.random(600), random.choice([7, 9], 600)], axis=1)
    x = x.astype(np.float32)
    y = (random.random(600) < 0.2 + 0.2 * x[:, 0]).astype(np.float64)
    model = ALGORITHMS["logistic"](pipeline, Part(x, y)).model
    exported = Exported(to_onnx_bytes(model, 3))
    tried = np.array([[a, 0.5, b] for a in (0, 1, 1.5, 2, 3) for b in (7, 7.5, 8, 9)], dtype=np.float32)
    assert exported.scores(tried) == pytest.approx(model.predict_proba(tried)[:, 1], abs=1e-6)


def test_the_codes_of_a_pipeline_may_be_declared_as_floats_and_train() -> None:
    events = clicks(0, 400).with_columns(price=(pl.col("price") * 3).floor())
    pipeline = one(features=coded(), categorical=("tariff",))
    short = replace(pipeline.training, algorithms=("logistic",), validation=timedelta(minutes=20))
    assert trained(run(replace(pipeline, training=short), events).topics).package.manifest.algorithm == "logistic"
