"""The flights of the example as a benchmark. Their worker imports this: nothing that trains belongs here."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache

import polars as pl

from headrace.declare.pipeline import Pipeline
from headrace.examples.flights.data import flight_events
from headrace.examples.flights.features import features
from headrace.examples.flights.pipeline import flights
from headrace.features.state import with_windows


def declared(name: str) -> Pipeline:
    """The flights pipeline under a name of its own, on one partition."""
    return replace(flights, name=name, partitions=1)


# What `headrace run PROCESSOR bench.flights:measured` finds.
measured = declared(os.environ.get("BENCH_PIPELINE", "bench-flights"))
REFERENCE = "bench.flights:measured"


@cache
def events(months: int) -> pl.DataFrame:
    """The raw events of the year's first months."""
    return flight_events(months)


def feature_rows(raw: pl.DataFrame) -> pl.DataFrame:
    """Features records of raw events, as preprocess makes them where one partition holds everything."""
    numbered = raw.with_row_index("offset").with_columns(pl.col("offset").cast(pl.Int64))
    seen = with_windows(flights, numbered)
    identity = numbered.select("offset", id="flight_id", key="origin", event_time="at")
    return features(seen).join(identity, on="offset", maintain_order="left").rename({"offset": "raw_offset"})
