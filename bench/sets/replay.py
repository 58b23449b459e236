"""From the topic to the matrix that training takes, as retrain reads it: examples, hashed -> float32 (n, features)."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import polars as pl

from bench import cores
from bench.loaded import Loaded
from bench.pipeline import REFERENCE, declared, feature_rows
from bench.progress import Rate
from bench.sitting import Sitting
from headrace.config import load_settings
from headrace.errors import StackError
from headrace.jobs.train.dataset import part, read_examples
from headrace.kafka.cluster import KafkaLog
from headrace.schema.records import OffsetRange
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics

TIMEOUT_S = 120


def replay(sitting: Sitting) -> None:
    """Examples a second, read, hashed, decoded and put into one float32 matrix."""
    loaded = Loaded(sitting.cluster, declared("bench-replay"), REFERENCE)
    rows = feature_rows(sitting.scale.records).with_columns(
        (pl.col("x0") > 0.5).cast(pl.Float64).alias("label"),
        pl.col("event_time").alias("label_time"),
        pl.col("raw_offset").alias("feature_offset"),
        pl.col("raw_offset").alias("label_offset"),
    )
    loaded.load("examples", rows)
    settings = sitting.cluster.settings
    cmd = [sys.executable, "-m", "bench.sets.replay", settings.bootstrap, settings.registry_url, loaded.pipeline.name]

    def run() -> Rate:
        with cores.on(cores.CLIENT):
            done = subprocess.run(cmd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if done.returncode:
            raise StackError(f"reading examples failed: {done.stderr.strip()}")
        return Rate(**json.loads(done.stdout))

    sitting.against({"replay_matrix": run})


def main() -> None:
    """Read every example of the pipeline named into a matrix; print ``{"records": ..., "seconds": ...}``."""
    bootstrap, registry, name = sys.argv[1:]
    settings = load_settings(bootstrap=bootstrap, registry_url=registry)
    topics = PipelineTopics(declared(name), KafkaLog(settings, "bench"), ConfluentRegistry(settings))
    topics.codec("examples").prepare()
    bounds = topics.log.bounds(topics.topic("examples"))
    ranges = [OffsetRange(partition=p, start=start, stop=stop) for p, (start, stop) in bounds.items()]
    began = time.perf_counter()
    matrix = part(topics.pipeline, read_examples(topics, ranges).rows).x
    seconds = time.perf_counter() - began
    print(json.dumps({"records": len(matrix), "seconds": seconds}))


if __name__ == "__main__":
    main()
