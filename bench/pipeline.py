"""The pipeline that is measured, and its records: about 90 bytes each, eight numbers to score."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from headrace.declare.pipeline import Pipeline
from headrace.declare.target import Binary

BEGIN_US = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
INPUTS = tuple(f"x{i}" for i in range(8))
KEYS = 512
RAW = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "sensor", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        *({"name": name, "type": "double"} for name in INPUTS),
        {"name": "failed", "type": ["null", "boolean"], "default": None},
    ],
}


def features(events: pl.DataFrame) -> pl.DataFrame:
    """The numbers as they are: what is measured is the platform, not the user's arithmetic."""
    return events.select("offset", *INPUTS)


def labels(events: pl.DataFrame) -> pl.DataFrame:
    """Whether the thing failed, where that is known."""
    return events.filter(pl.col("failed").is_not_null()).select(
        "offset", pl.col("failed").cast(pl.Float64).alias("label")
    )


def declared(name: str, partitions: int = 1) -> Pipeline:
    """The pipeline under a name of its own, so that each set of records has its own topics."""
    return Pipeline(
        name=name,
        raw=RAW,
        key="sensor",
        id="id",
        event_time="at",
        features=features,
        labels=labels,
        target=Binary("failed"),
        horizon=timedelta(seconds=1),
        lateness=timedelta(seconds=1),
        label_horizon=timedelta(days=1),
        partitions=partitions,
    )


# What `headrace run PROCESSOR bench.pipeline:measured` finds.
measured = declared(os.environ.get("BENCH_PIPELINE", "bench"), int(os.environ.get("BENCH_PARTITIONS", "1")))
REFERENCE = "bench.pipeline:measured"


def feature_rows(count: int, start: int = 0) -> pl.DataFrame:
    """Features records ``start`` to before ``start + count``, a millisecond of event time apart."""
    numbers = np.random.default_rng(start).random((count, len(INPUTS)))
    index = pl.int_range(start, start + count, eager=True)
    rows = pl.DataFrame({name: numbers[:, i] for i, name in enumerate(INPUTS)})
    return rows.with_columns(
        _padded("i", index, 7).alias("id"),
        _padded("sensor", index % KEYS, 3).alias("key"),
        (index * 1000 + BEGIN_US).cast(pl.Datetime("us", "UTC")).alias("event_time"),
        index.alias("raw_offset"),
    )


def raw_rows(count: int) -> pl.DataFrame:
    """Raw events that make the features records of :func:`feature_rows`, every second one with its label."""
    rows = feature_rows(count)
    return rows.select(
        "id",
        pl.col("key").alias("sensor"),
        pl.col("event_time").alias("at"),
        *INPUTS,
        pl.when(pl.col("raw_offset") % 2 == 0).then(pl.col("x0") > 0.5).alias("failed"),
    )


def label_rows(features: pl.DataFrame) -> pl.DataFrame:
    """A label for each features record."""
    return features.select(
        "id",
        "key",
        (pl.col("x0") > 0.5).cast(pl.Float64).alias("label"),
        pl.col("event_time").alias("label_time"),
        pl.lit("bench").alias("source"),
        pl.col("raw_offset").alias("source_offset"),
    )


def _padded(prefix: str, numbers: pl.Series, digits: int) -> pl.Series:
    return prefix + numbers.cast(pl.String).str.zfill(digits)
