"""Files through the door: ``headrace push`` of a flat record of ten fields, in each format.

``python -m bench.door write FOLDER ROWS`` writes the files; ``python -m bench.door push BOOTSTRAP REGISTRY FILE``
pushes one and prints ``{"records": ..., "seconds": ...}``: from opening the file to the last commit.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import polars as pl

from bench.events import SHAPES
from bench.pipeline import declared
from headrace.config import load_settings
from headrace.kafka.cluster import KafkaLog
from headrace.producers.files import push_file
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics

SCHEMA: dict[str, Any] = {"type": "record", "name": "Reading", "fields": SHAPES["flat"]}
FORMATS = ("csv", "jsonl", "parquet", "avro")
WARM = 20_000
"""Rows of the file that is pushed first, so that kernels are loaded and the producer has its id."""


def rows(count: int) -> pl.DataFrame:
    """Readings of sensors, 97 bytes a record or so."""
    rng = np.random.default_rng(1)
    start = datetime(2024, 3, 1, tzinfo=UTC)
    at = pl.datetime_range(start, start + timedelta(milliseconds=count - 1), "1ms", time_unit="us", eager=True)
    return pl.DataFrame(
        {
            "id": [f"i{n:07d}" for n in range(count)],
            "sensor": [f"sensor{n % 512:03d}" for n in range(count)],
            "at": at,
            **{f"x{k}": rng.normal(size=count) for k in range(3)},
            "count": rng.integers(0, 10**9, count),
            "level": pl.Series(rng.integers(0, 100, count), dtype=pl.Int32),
            "ok": rng.random(count) < 0.5,
            "failed": rng.random(count) < 0.1,
        }
    )


def write(folder: Path, count: int) -> None:
    """The files of every format, and a short one of each to begin with."""
    for name, size in (("rows", count), ("warm", WARM)):
        frame = rows(size)
        text = frame.with_columns(pl.col("at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
        text.write_csv(folder / f"{name}.csv")
        text.write_ndjson(folder / f"{name}.jsonl")
        frame.write_parquet(folder / f"{name}.parquet")
        with (folder / f"{name}.avro").open("wb") as file:
            fastavro.writer(file, SCHEMA, frame.iter_rows(named=True), codec="deflate")


def push(bootstrap: str, registry: str, path: Path) -> dict[str, float]:
    """Push the short file, then this one, to topics of their own."""
    settings = load_settings(bootstrap=bootstrap, registry_url=registry)
    pipeline = replace(declared(f"bench-door-{uuid.uuid4().hex[:6]}"), raw=SCHEMA, features=_features)
    topics = PipelineTopics(pipeline, KafkaLog(settings, "bench-door"), ConfluentRegistry(settings))
    topics.init()
    push_file(topics, path.with_stem("warm"))
    gc.collect()
    gc.freeze()
    began = time.perf_counter()
    done = push_file(topics, path)
    seconds = time.perf_counter() - began
    if done.bad:
        raise SystemExit(f"{done.bad} rows were refused")
    return {"records": done.sent, "seconds": seconds}


def _features(events: pl.DataFrame) -> pl.DataFrame:
    """What a pipeline must have; nobody runs it here."""
    return events.select("offset", x=pl.lit(1.0))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        print(json.dumps(push(sys.argv[2], sys.argv[3], Path(sys.argv[4]))))
