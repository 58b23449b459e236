"""The flights of the example as a benchmark: its real features, and a model fitted on them."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl

from bench.models import packed
from examples.flights.data import flight_events
from examples.flights.features import features, labels
from examples.flights.pipeline import flights
from headrace.models.package import Package
from headrace.pipeline import Pipeline
from streams.retrain.algorithms import ALGORITHMS
from streams.retrain.dataset import Part
from streams.retrain.export import to_onnx_bytes


def declared(name: str) -> Pipeline:
    """The flights pipeline under a name of its own, on one partition."""
    return replace(flights, name=name, partitions=1)


# What `headrace run --pipeline bench.flights:measured` finds.
measured = declared(os.environ.get("BENCH_PIPELINE", "bench-flights"))
REFERENCE = "bench.flights:measured"


@cache
def events(months: int) -> pl.DataFrame:
    """The raw events of the year's first months."""
    return flight_events(months)


def feature_rows(raw: pl.DataFrame) -> pl.DataFrame:
    """Features records of raw events, as preprocess makes them where one partition holds everything."""
    numbered = raw.with_row_index("offset").with_columns(pl.col("offset").cast(pl.Int64))
    identity = numbered.select("offset", id="flight_id", key="origin", event_time="at")
    return features(numbered).join(identity, on="offset", maintain_order="left").rename({"offset": "raw_offset"})


def model(pipeline: Pipeline, raw: pl.DataFrame, rows: pl.DataFrame) -> Package:
    """Gradient boosting, as retrain fits it, on these flights."""
    numbered = raw.with_row_index("offset").with_columns(pl.col("offset").cast(pl.Int64))
    known = labels(numbered).join(numbered.select("offset", id="flight_id"), on="offset").select("id", "label")
    both = rows.join(known, on="id")
    x = both.select(pl.col(c).cast(pl.Float32) for c in pipeline.inputs).to_numpy()
    fitted = ALGORITHMS["boosting"](pipeline, Part(np.ascontiguousarray(x), both["label"].to_numpy()))
    return packed(pipeline, "boosting", to_onnx_bytes(fitted.model, len(pipeline.inputs)))
