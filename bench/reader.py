"""Notes when each prediction can first be read: a read_committed reader at the end of the topic.

``python -m bench.reader BOOTSTRAP REGISTRY PIPELINE COUNT SECONDS SKIP_S``: reads COUNT predictions, SECONDS at most,
leaves out those due in the first SKIP_S, and prints percentiles of arrival minus ``event_time`` in milliseconds.
"""

from __future__ import annotations

import gc
import json
import sys
import time

import numpy as np
import polars as pl

from bench.pipeline import declared
from headrace.config import load_settings
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Chunk
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics

LIMIT = 20_000
POLL_S = 0.1
READY = "reading"
PERCENTILES = {"p50_ms": 50.0, "p99_ms": 99.0, "p999_ms": 99.9, "max_ms": 100.0}


def main() -> None:
    """Read first, decode after: what is measured is the arrival, not this reader's decoding."""
    bootstrap, registry, name, count, seconds, skip = sys.argv[1:]
    settings = load_settings(bootstrap=bootstrap, registry_url=registry)
    topics = PipelineTopics(declared(name), KafkaLog(settings, "bench-reader"), ConfluentRegistry(settings))
    bounds = topics.log.bounds(topics.topic("predictions"))
    reader = topics.log.reader({topics.tp("predictions", p): end for p, (_, end) in bounds.items()})
    seen: list[tuple[float, Chunk]] = []
    gc.collect()
    gc.freeze()
    print(READY, flush=True)
    deadline, read = time.monotonic() + float(seconds), 0
    while read < int(count) and time.monotonic() < deadline:
        chunks = reader.poll(LIMIT, POLL_S)
        now = time.time()
        seen += [(now, chunk) for chunk in chunks]
        read += sum(len(chunk) for chunk in chunks)
    reader.close()
    if not seen:
        raise SystemExit("no prediction came")
    codec = topics.codec("predictions")
    due = [codec.decode(chunk.values).frame()["event_time"].cast(pl.Int64).to_numpy() / 1e6 for _, chunk in seen]
    late = np.concatenate([at - times for (at, _), times in zip(seen, due, strict=True)]) * 1000
    when = np.concatenate(due)
    late = late[when >= when.min() + float(skip)]
    print(json.dumps({"records": read} | {n: float(np.percentile(late, p)) for n, p in PERCENTILES.items()}))


if __name__ == "__main__":
    main()
