"""A model fitted on flights, as retrain fits it."""

from __future__ import annotations

import polars as pl

from headrace.declare.pipeline import Pipeline
from headrace.examples.flights.features import labels
from headrace.jobs.train.algorithms import ALGORITHMS
from headrace.jobs.train.dataset import Part
from headrace.jobs.train.export import to_onnx_bytes
from headrace.models.inputs import matrix
from headrace.models.package.package import Package
from headrace.testing.models import packed


def fitted(pipeline: Pipeline, raw: pl.DataFrame, rows: pl.DataFrame) -> Package:
    """Gradient boosting, as retrain fits it, on these flights."""
    numbered = raw.with_row_index("offset").with_columns(pl.col("offset").cast(pl.Int64))
    known = labels(numbered).join(numbered.select("offset", id="flight_id"), on="offset").select("id", "label")
    both = rows.join(known, on="id")
    found = ALGORITHMS["boosting"](pipeline, Part(matrix(both, pipeline.inputs), both["label"].to_numpy()))
    return packed(pipeline, "boosting", to_onnx_bytes(found.model, len(pipeline.inputs)), seed=7)
