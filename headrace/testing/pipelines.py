"""Small pipelines: clicks of users, some of whom buy. Every worker of a test imports this, so it imports little."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from headrace.declare.aggregations import Count, Distinct, Max, Mean, Sum
from headrace.declare.drift import Drift
from headrace.declare.pipeline import Pipeline
from headrace.declare.target import Binary
from headrace.declare.training import Training
from headrace.declare.windows import Window, rolling_sums

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
USERS = tuple(f"user{i}" for i in range(12))
RAW = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "kind", "type": "string"},
        {"name": "click_id", "type": "string"},
        {"name": "user", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "price", "type": "double"},
        {"name": "bought", "type": ["null", "boolean"], "default": None},
    ],
}
POISON, HANG, SHAPE, DTYPE, STUCK = -1.0, -2.0, -3.0, -4.0, -5.0
"""Prices on which the toy's features() raises, never returns, forgets a column, gives one of another type, and never
returns from compiled code, where no signal gets in."""


def features(events: pl.DataFrame) -> pl.DataFrame:
    """Price, and how often the user was seen in the last ten minutes. Does evil on some prices."""
    if (events["price"] == POISON).any():
        raise ValueError("a price of -1")
    if (events["price"] == STUCK).any():
        sum(itertools.repeat(1))
    while (events["price"] == HANG).any():
        time.sleep(0.01)
    window = Window(pl.col("kind") == "seen", timedelta(minutes=10), ("user",))
    seen = events.with_columns(rolling_sums(events, at="at", windows={"seen_10m": window}))
    made = seen.filter(pl.col("kind") == "seen").select("offset", "price", "seen_10m")
    if (events["price"] == SHAPE).any():
        return made.drop("seen_10m")
    return made.cast({"price": pl.String}) if (events["price"] == DTYPE).any() else made


def labels(events: pl.DataFrame) -> pl.DataFrame:
    """Whether the click led to a purchase."""
    return events.filter(pl.col("kind") == "result").select("offset", pl.col("bought").cast(pl.Float64).alias("label"))


def toy(name: str, partitions: int = 3) -> Pipeline:
    """A toy pipeline of its own name."""
    return Pipeline(
        name=name,
        raw=RAW,
        key="user",
        id="click_id",
        event_time="at",
        features=features,
        labels=labels,
        target=Binary("bought"),
        horizon=timedelta(minutes=30),
        lateness=timedelta(minutes=10),
        label_horizon=timedelta(hours=2),
        partitions=partitions,
        training=Training(validation=timedelta(minutes=30), minimum=50),
        drift=Drift(window=timedelta(hours=1)),
        failure_limit=0.9,
        function_limit=timedelta(seconds=1.5),
    )


def windowed_features(events: pl.DataFrame) -> pl.DataFrame:
    """The toy's features, of new rows alone: ``seen_10m`` is a window. Does evil on one price."""
    if (events["price"] == POISON).any():
        raise ValueError("a price of -1")
    made = events.filter(pl.col("kind") == "seen").select("offset", "price", "seen_10m", *MORE_WINDOWS)
    return made.with_columns(pl.col("spent_before", "dearest").fill_null(0.0))


MORE_WINDOWS = {
    "spent_30m": Sum("price", by="user", within="30m"),
    "spent_before": Mean("price", by="user", within="20m", offset="10m"),
    "dearest": Max("price", by=(), within="15m"),
    "kinds": Distinct("kind", by="user", within="1h"),
}


def windowed(name: str, partitions: int = 3) -> Pipeline:
    """A toy pipeline of its own name, whose features look back by windows."""
    seen = Count(pl.col("kind") == "seen", within="10m", by="user")
    windows = {"seen_10m": seen, **MORE_WINDOWS}
    return replace(toy(name, partitions), windows=windows, horizon=timedelta(0), features=windowed_features)


def grouped_features(events: pl.DataFrame) -> pl.DataFrame:
    """The toy's features, and its groups: who clicked, and whether it was early in the hour."""
    groups = events.select(
        "offset", "user", half=pl.when(pl.col("at").dt.minute() < 30).then(pl.lit("first")).otherwise(pl.lit("second"))
    )
    return features(events).join(groups, on="offset", how="left", maintain_order="left")


def grouped(name: str, partitions: int = 3) -> Pipeline:
    """A toy pipeline of its own name, with groups."""
    return replace(toy(name, partitions), features=grouped_features, groups=("user", "half"))


def wide(width: int) -> Pipeline:
    """A toy pipeline of so many features, each the price."""

    def many(events: pl.DataFrame) -> pl.DataFrame:
        return events.select("offset", *(pl.col("price").alias(f"x{i}") for i in range(width)))

    return replace(toy("wide"), features=many)


# What `headrace run PROCESSOR REFERENCE` finds: the name comes from the environment, so that a test has its own topics.
pipeline = toy(os.environ.get("TOY_PIPELINE", "toy"))
REFERENCE = f"{__name__}:pipeline"
grouped_pipeline = grouped(pipeline.name)
GROUPED_REFERENCE = f"{__name__}:grouped_pipeline"


def clicks(start: int, count: int, *, labelled: bool = True) -> pl.DataFrame:
    """Clicks ``start`` to before ``start + count``, ten seconds apart, each with its result a minute later."""
    random = np.random.default_rng(start)
    rows = []
    for i in range(start, start + count):
        at = BEGIN + timedelta(seconds=10 * i)
        price = float(random.random())
        bought = bool(random.random() < price)
        click = {"click_id": f"c{i}", "user": USERS[i % len(USERS)], "price": price}
        rows.append({**click, "kind": "seen", "at": at, "bought": None})
        if labelled:
            rows.append({**click, "kind": "result", "at": at + timedelta(minutes=1), "bought": bought})
    schema: dict[str, pl.DataType] = {
        "kind": pl.String(),
        "click_id": pl.String(),
        "user": pl.String(),
        "at": pl.Datetime("us", "UTC"),
        "price": pl.Float64(),
        "bought": pl.Boolean(),
    }
    frame = pl.DataFrame(rows, schema=schema)
    return frame.sort("at", maintain_order=True)
