"""``make bench``: the exactly-once loop against a plain passthrough, on a Kafka of its own.

P is what Python can do at best: ``consume`` and ``produce_batch``, idempotent, nothing decoded. The machine's speed
drifts, so each run stands between two runs of P and is given as a ratio to their mean; of several the median.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from rich.console import Console
from rich.table import Table

from headrace.config import Settings
from headrace.embedded.stack import Stack
from headrace.log.base import Chunk, Output, TopicPartition
from headrace.log.kafka import CONSUMER, KafkaLog
from headrace.log.kafka_writer import PRODUCER
from headrace.log.loop import ExactlyOnceLoop, LoopConfig
from headrace.log.processor import Stateless, Step

RECORDS = 400_000
VALUE = os.urandom(90)
KEY = b"12345678"
REPEATS = 3
BATCH = 1000
OUT = Path("build/bench")
INTERVALS_MS = (20, 100)


class Passthrough(Stateless):
    """Writes what it reads."""

    name = "passthrough"

    def __init__(self, source: str, sink: str) -> None:
        self.inputs = (source,)
        self._sink = sink
        self.done = 0

    def process(self, batch: Chunk) -> Step:
        self.done += len(batch)
        return Step([Output(TopicPartition(self._sink, 0), batch.keys, batch.values)])


def plain(settings: Settings) -> float:
    """Records a second of P."""
    consumer = Consumer({"bootstrap.servers": settings.bootstrap, **CONSUMER, "group.id": "plain"})
    producer = Producer({"bootstrap.servers": settings.bootstrap, **PRODUCER})
    producer.produce("bench.out", b"warm", partition=0)
    producer.flush()
    consumer.assign([KafkaPartition("bench.in", 0, 0)])
    done, began = 0, 0.0
    while done < RECORDS:
        messages = consumer.consume(BATCH, 1.0)
        began = began or time.perf_counter()
        done += producer.produce_batch(
            "bench.out", [{"key": m.key(), "value": m.value()} for m in messages], partition=0
        )
        producer.poll(0)
    producer.flush()
    took = time.perf_counter() - began
    consumer.close()
    return RECORDS / took


def exactly_once(log: KafkaLog, run: int, commit_ms: int) -> float:
    """Records a second of the exactly-once loop passing records through."""
    processor = Passthrough("bench.in", "bench.out")
    config = LoopConfig(
        group=f"bench-{commit_ms}-{run}", worker="bench-0", commit_interval=commit_ms / 1000, batch=BATCH
    )
    loop = ExactlyOnceLoop(log, processor, config, lambda chunk, trace: Output(TopicPartition("bench.out", 0), [], []))
    began = 0.0

    def over() -> bool:
        nonlocal began
        if processor.done and not began:
            began = time.perf_counter()
        return processor.done >= RECORDS

    first = 0
    while not over():
        loop.turn()
        first = first or processor.done
    loop.stop()
    loop.run()
    return (RECORDS - first) / (time.perf_counter() - began)


def paired(measure: Callable[[int], float], settings: Settings) -> tuple[float, list[float]]:
    """Ratios of ``measure`` to P before and after it: median, and all."""
    ratios = []
    before = plain(settings)
    for run in range(REPEATS):
        found = measure(run)
        after = plain(settings)
        ratios.append(found / ((before + after) / 2))
        before = after
    return statistics.median(ratios), ratios


def main() -> None:
    """Measure, print and write ``build/bench/report.json``."""
    console = Console()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder) / "state", heap_mb=1024) as stack:
        settings = Settings(bootstrap=stack.bootstrap, registry_url=stack.registry_url)
        log = KafkaLog(settings, "bench")
        log.create_topics({"bench.in": (1, {}), "bench.out": (1, {"retention.ms": "60000"})})
        sender = log.sender("bench")
        sender.send("bench.in", [KEY] * RECORDS, [VALUE] * RECORDS)
        sender.flush()
        console.print(f"{RECORDS:,} records of {len(VALUE)} bytes; load before {load:.1f}; P {plain(settings):,.0f}/s")
        ratios, raw = {}, {}
        for commit_ms in INTERVALS_MS:
            name = f"passthrough_txn{commit_ms}"
            ratios[name], raw[name] = paired(lambda run, ms=commit_ms: exactly_once(log, run, ms), settings)  # type: ignore[misc]
    table = Table("what", "of P (median)", "runs", title="paired ratios to a plain passthrough")
    for name, ratio in ratios.items():
        table.add_row(name, f"{ratio:.2f}", "  ".join(f"{r:.2f}" for r in raw[name]))
    console.print(table)
    OUT.mkdir(parents=True, exist_ok=True)
    machine = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "load": load,
    }
    versions = {name: version(name) for name in ("confluent-kafka", "numpy", "polars", "onnxruntime")}
    report = {"ratios": ratios, "runs": raw, "machine": machine, "versions": versions}
    (OUT / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    console.print(f"written: {OUT / 'report.json'}")


if __name__ == "__main__":
    main()
