"""P: what Python can do on Kafka at best. ``consume`` and ``produce_batch``, idempotent, nothing decoded.

A process of its own, so that it is as lean as it claims: ``python -m bench.passthrough``. With ``--commit-ms`` it
does the same in transactions, with the offsets in them.
"""

from __future__ import annotations

import argparse
import gc
import json
import time

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from headrace.kafka.reader import CONSUMER
from headrace.kafka.writer import PRODUCER

BATCH = 1000
QUEUE = 200_000
PATIENCE_S = 10.0


class Passthrough:
    """Copies the first records of a partition to another topic."""

    def __init__(self, bootstrap: str, source: str, sink: str, commit_ms: int) -> None:
        self._sink = sink
        self._commit_s = commit_ms / 1000
        self._at = KafkaPartition(source, 0, 0)
        common = {"bootstrap.servers": bootstrap}
        self._consumer = Consumer({**common, **CONSUMER, "group.id": f"bench.passthrough.{commit_ms}"})
        transactional = {"transactional.id": "bench.passthrough"} if commit_ms else {}
        self._producer = Producer({**common, **PRODUCER, **transactional, "queue.buffering.max.messages": QUEUE})
        if commit_ms:
            self._producer.init_transactions(PATIENCE_S)
        self._consumer.assign([self._at])

    def run(self, records: int) -> float:
        """Seconds from the first record read to the last one acknowledged."""
        done, began, opened = 0, 0.0, 0.0
        while done < records:
            messages = self._consumer.consume(BATCH, PATIENCE_S)
            if not messages:
                raise SystemExit(f"nothing to read within {PATIENCE_S:.0f} s after {done} records")
            began = began or time.perf_counter()
            if self._commit_s and not opened:
                self._producer.begin_transaction()
                opened = time.perf_counter()
            self._write([{"key": m.key(), "value": m.value()} for m in messages])
            done += len(messages)
            self._at.offset = (messages[-1].offset() or 0) + 1
            if opened and time.perf_counter() - opened >= self._commit_s:
                self._commit()
                opened = 0.0
        if opened:
            self._commit()
        self._producer.flush()
        return time.perf_counter() - began

    def warm_up(self) -> None:
        """Send one record: an idempotent producer's first takes half a second."""
        if self._commit_s:
            self._producer.begin_transaction()
        self._write([{"key": b"", "value": b"warm"}])
        if self._commit_s:
            self._producer.commit_transaction(PATIENCE_S)
        self._producer.flush()

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    def _write(self, messages: list[dict[str, bytes | None]]) -> None:
        left = messages
        while self._producer.produce_batch(self._sink, left, partition=0) < len(left):
            left = [{"key": m["key"], "value": m["value"]} for m in left if "_error" in m]
            self._producer.poll(0.01)
        self._producer.poll(0)

    def _commit(self) -> None:
        self._producer.send_offsets_to_transaction([self._at], self._consumer.consumer_group_metadata(), PATIENCE_S)
        self._producer.commit_transaction(PATIENCE_S)


def main() -> None:
    """Run once, print ``{"records": ..., "seconds": ...}``."""
    parser = argparse.ArgumentParser(prog="bench.passthrough")
    for name in ("--bootstrap", "--source", "--sink"):
        parser.add_argument(name, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--commit-ms", type=int, default=0)
    given = parser.parse_args()
    loop = Passthrough(given.bootstrap, given.source, given.sink, given.commit_ms)
    try:
        loop.warm_up()
        gc.collect()
        gc.freeze()
        seconds = loop.run(given.records)
    except KafkaException as e:
        raise SystemExit(f"Kafka: {e}") from None
    finally:
        loop.close()
    print(json.dumps({"records": given.records, "seconds": seconds}))


if __name__ == "__main__":
    main()
