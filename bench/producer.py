"""Offers features records at a steady rate. Each carries in ``event_time`` the moment at which it was due.

``python -m bench.producer BOOTSTRAP REGISTRY PIPELINE RATE SECONDS``
"""

from __future__ import annotations

import gc
import sys
import time
from datetime import timedelta

from bench.pipeline import INPUTS, declared, feature_rows
from headrace.codec.column import BytesColumn
from headrace.config import load_settings
from headrace.kafka.cluster import KafkaLog
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics

TICK_S = 0.005


def main() -> None:
    """Send for so many seconds; the time that a late tick loses counts as latency of its records."""
    bootstrap, registry, name, rate, seconds = sys.argv[1:]
    settings = load_settings(bootstrap=bootstrap, registry_url=registry, kafka={"linger.ms": "1"})
    topics = PipelineTopics(declared(name), KafkaLog(settings, "bench-producer"), ConfluentRegistry(settings))
    sender, topic, codec = topics.log.sender("bench-producer"), topics.topic("features"), topics.codec("features")
    count, ticks = round(int(rate) * TICK_S), round(float(seconds) / TICK_S)
    rows = feature_rows(count)
    strings = {name: BytesColumn.of([v.encode() for v in rows[name]]) for name in ("id", "key")}
    columns = strings | {name: rows[name].to_numpy() for name in (*INPUTS, "raw_offset")}
    gc.collect()
    gc.freeze()
    began = time.time()
    for tick in range(ticks):
        due = began + tick * TICK_S
        time.sleep(max(0.0, due - time.time()))
        values = codec.encode_columns(count, {**columns, "event_time": round(due * 1e6)})
        sender.send(topic, strings["key"], values)
    behind = time.time() - began - ticks * TICK_S
    sender.flush()
    print(f"sent {ticks * count} records, {timedelta(seconds=max(behind, 0.0))} behind")


if __name__ == "__main__":
    main()
