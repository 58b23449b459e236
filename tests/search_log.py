"""A log of the flights pipeline in memory with something of everything that is forwarded, drawn by chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from headrace.consumers.forward.processor import Forward
from headrace.consumers.forward.route import Route as Way
from headrace.consumers.forward.shape import shapes
from headrace.examples.flights.pipeline import flights
from headrace.kafka.log import TopicPartition, read_all
from headrace.schema.records import (
    Activated,
    Approval,
    DeadLetter,
    DeadRetry,
    GateResult,
    Metric,
    PartitionOffset,
    Policy,
    Record,
    Rejection,
    RolledBack,
    Route,
)
from headrace.testing.memory import in_memory
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS

BEGIN = datetime(2013, 2, 1, tzinfo=UTC)
SPAN = timedelta(days=90)
MODELS = tuple(letter * 64 for letter in "abc")
ROUTES = ("champion", "candidate", "shadow")
CARRIERS = ("9E", "AA", "B6", "DL", "EV", "UA", "WN")
ORIGINS = ("EWR", "JFK", "LGA")
SCORED = 500
"""Features records of each partition."""


def made(seed: int = 5) -> PipelineTopics:
    """The topics, filled."""
    chance = np.random.default_rng(seed)
    topics = in_memory(flights)
    writer = topics.log.writer("made")
    writer.begin()
    for partition in range(flights.partitions):
        features = _features(chance, partition)
        keys = [key.encode() for key in features["key"]]
        writer.write(topics.rows("features", partition, features, keys))
        predictions = _predictions(chance, features, partition)
        keys = [key.encode() for key in predictions["key"]]
        writer.write(topics.rows("predictions", partition, predictions, keys))
        outcomes = _outcomes(chance, predictions)
        keys = [key.encode() for key in outcomes["key"]]
        writer.write(topics.rows("outcomes", partition, outcomes, keys))
        dead = list(_dead(chance, partition))
        writer.write(topics.control("dead", dead, ["k"] * len(dead), partition))
    for name, records in (("metrics", list(_metrics(chance))), ("decisions", list(_decisions(chance)))):
        writer.write(topics.control(name, records, ["m"] * len(records)))
    writer.commit()
    writer.close()
    return topics


def forward(topics: PipelineTopics, way: Way) -> None:
    """Pass on all there is, as the processor does."""
    processor = Forward(topics, shapes(topics.pipeline, ""), way)
    partitions = [
        TopicPartition(name, partition) for name in processor.inputs for partition in range(topics.log.partitions(name))
    ]
    processor.assigned(partitions)
    for name in processor.inputs:
        for chunk in read_all(topics.log, name, processor.batch):
            rest = chunk
            while len(rest):
                step = processor.process(rest)
                assert not step.outputs
                assert step.consumed != 0
                rest = rest.slice(len(rest) if step.consumed is None else step.consumed, len(rest))
    processor.close()


def frames_of(topics: PipelineTopics, name: str) -> dict[str, pl.DataFrame]:
    """Record type -> every record of it, with what its document's coordinates are."""
    found: dict[str, list[pl.DataFrame]] = {}
    for chunk in read_all(topics.log, topics.topic(name)):
        decoded = topics.codec(name).decode(chunk.values)
        for kind, record in enumerate(TOPICS[name].records):
            places = decoded.places(kind)
            if len(places):
                where = [
                    pl.lit(chunk.tp.topic).alias("@topic"),
                    pl.lit(chunk.tp.partition).alias("@partition"),
                    pl.Series("@offset", chunk.offsets[places]),
                    pl.lit(f"headrace.{record}").alias("@record"),
                ]
                found.setdefault(record, []).append(decoded.frame(kind).with_columns(where))
    return {record: pl.concat(parts) for record, parts in found.items()}


def _times(chance: np.random.Generator, count: int) -> pl.Series:
    micros = np.sort(chance.integers(0, SPAN // timedelta(microseconds=1), count))
    return pl.Series(micros + int(BEGIN.timestamp() * 1e6)).cast(pl.Datetime("us", "UTC"))


def _features(chance: np.random.Generator, partition: int) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "id": [f"F{partition}-{i}" for i in range(SCORED)],
        "key": chance.choice(ORIGINS, SCORED),
        "event_time": _times(chance, SCORED),
        "raw_offset": np.arange(SCORED),
    }
    for name, dtype in flights.feature_columns.items():
        if dtype == pl.String:
            columns[name] = chance.choice(CARRIERS if name == "carrier" else ORIGINS, SCORED)
        else:
            columns[name] = pl.Series(chance.integers(0, 50, SCORED)).cast(dtype)
    return pl.DataFrame(columns)


def _predictions(chance: np.random.Generator, features: pl.DataFrame, partition: int) -> pl.DataFrame:
    """Each is scored once, and some once more; some scores are none; of some the features are gone."""
    again = features.with_row_index("offset").sample(SCORED // 3, seed=partition)
    scored = pl.concat([features.with_row_index("offset"), again]).sort("offset")
    count = scored.height
    scores = chance.random(count).astype(np.float32)
    scores[chance.random(count) < 0.01] = np.nan
    gone = chance.random(count) < 0.02
    return scored.select(
        "id",
        "key",
        "event_time",
        pl.lit(partition, pl.Int32).alias("partition"),
        pl.Series("offset", np.where(gone, 10**12, scored["offset"].to_numpy()), pl.Int64),
        pl.Series("model_id", chance.choice(MODELS, count)),
        pl.lit(0, pl.Int64).alias("marker_offset"),
        pl.Series("route", chance.choice(ROUTES, count)),
        pl.Series("outputs", [[s] for s in scores.tolist()], pl.List(pl.Float32)),
        pl.lit("r").alias("runtime"),
    )


def _outcomes(chance: np.random.Generator, predictions: pl.DataFrame) -> pl.DataFrame:
    known = predictions.with_row_index("prediction_offset").filter(pl.Series(chance.random(predictions.height) < 0.6))
    return known.select(
        "id",
        "key",
        "event_time",
        "model_id",
        "route",
        "outputs",
        pl.Series("label", chance.integers(0, 2, known.height).astype(np.float64)),
        (pl.col("event_time") + timedelta(hours=3)).alias("label_time"),
        pl.col("prediction_offset").cast(pl.Int64),
        pl.lit(0, pl.Int64).alias("label_offset"),
        pl.col("offset").alias("feature_offset"),
    )


def _metrics(chance: np.random.Generator) -> Iterator[Record]:
    """Windows of a week, some measured again and again while those after them are measured too."""
    of_all = ("psi.distance", "psi.temp", "ks.distance", "brier", "calibration_error", "label_rate", "labels_missing")
    of_each = ("auc", "log_loss", "positive_rate", "true_positive_rate", "false_positive_rate")
    week = timedelta(days=7)
    first = datetime(1970, 1, 1, tzinfo=UTC) + week * ((BEGIN - datetime(1970, 1, 1, tzinfo=UTC)) // week)
    measured: list[tuple[float, str, str, str, str, datetime, int]] = []
    for number in range(13):
        for model_id in MODELS[:2]:
            for name in (*of_all, *of_each):
                for route in ("",) if "." in name else ROUTES[:2]:
                    for group in ("", *(f"carrier={c}" for c in CARRIERS if name in of_each)):
                        end = first + week * (number + 1)
                        for version in range(1, int(chance.integers(2, 5))):
                            place = number + 2 * version + chance.random()
                            measured.append((place, model_id, name, group, route, end, version))
    for _, model_id, name, group, route, end, version in sorted(measured):
        yield Metric(
            model_id=model_id,
            name=name,
            group=group,
            window_start=end - week,
            window_end=end,
            value=chance.random(),
            count=int(chance.integers(1, 10**6)),
            route=route,
            version=version,
        )


def _decisions(chance: np.random.Generator) -> Iterator[Record]:
    for i, at in enumerate(_times(chance, 12).to_list()):
        model_id = MODELS[i % 3]
        policy = Policy(routes=[Route(model_id=model_id, weight=1)])
        yield GateResult(
            model_id=model_id,
            gate="quality",
            passed=i % 4 != 0,
            mode="block",
            summary=f"log loss {i}",
            evidence="{}",
            at=at,
        )
        if i % 4 == 0:
            yield Rejection(model_id=model_id, by="ann", reason="gates: quality", order_offset=i or None, at=at)
            continue
        yield Approval(model_id=model_id, by="bob", evidence_hash="e", policy=policy, note="good enough", at=at)
        markers = [PartitionOffset(partition=0, offset=i)]
        yield Activated(
            activation_id=f"a{i}",
            model_id=model_id,
            policy=policy,
            markers=markers,
            reason="approval",
            order_offset=i,
            evidence_hash="e",
            at=at,
        )
        if i % 5 == 0:
            yield RolledBack(activation_id=f"a{i}", by="ann", reason="too many alarms", at=at)


def _dead(chance: np.random.Generator, partition: int) -> Iterator[Record]:
    """Letters, among them some from before letters had a time; and retries."""
    whys: Sequence[tuple[str, str, str]] = (
        ("preprocess", "short", "5 bytes are no record"),
        ("infer", "processor_failed", "ValueError: no such carrier"),
        ("forward", "search_refused", "mapper_parsing_exception: failed to parse"),
    )
    for i, at in enumerate(_times(chance, 40).to_list()):
        stage, code, reason = whys[int(chance.integers(0, 3))]
        place = {"topic": "flights.raw", "partition": partition, "offset": i}
        yield DeadLetter(
            stage=stage, code=code, reason=reason, key=b"k", value=b"\xff", at=at if i % 10 else None, **place
        )
        if i % 8 == 0:
            yield DeadRetry(
                letter_partition=partition, letter_offset=i, by="ann", at=at, **{**place, "offset": 1000 + i}
            )
