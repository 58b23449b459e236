"""The toy pipeline with groups: who clicked, and whether it was early in the hour."""

from __future__ import annotations

import os
from dataclasses import replace

import polars as pl

from headrace.declare.pipeline import Pipeline
from tests.integration import toy_pipeline


def features(events: pl.DataFrame) -> pl.DataFrame:
    """The toy's features, and its groups."""
    groups = events.select(
        "offset", "user", half=pl.when(pl.col("at").dt.minute() < 30).then(pl.lit("first")).otherwise(pl.lit("second"))
    )
    return toy_pipeline.features(events).join(groups, on="offset", how="left", maintain_order="left")


def grouped(name: str, partitions: int = 3) -> Pipeline:
    """A toy pipeline of its own name, with groups."""
    return replace(toy_pipeline.toy(name, partitions), features=features, groups=("user", "half"))


pipeline = grouped(os.environ.get("TOY_PIPELINE", "toy"))
REFERENCE = "tests.integration.grouped:pipeline"
