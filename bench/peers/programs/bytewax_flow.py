"""Bytewax, without recovery. ``plain``: a row at a time. ``batched``: what the source hands over, up to a thousand."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main
from job import BATCH, Job

how = sys.argv[1]
job = Job()


def one(message: KafkaSourceMessage[bytes, bytes]) -> KafkaSinkMessage[bytes, bytes] | None:
    """The receipt of a record."""
    row = job.decode(message.value)
    if row is None:
        return None
    return sent(message, row, job.score([row])[0])


def many(messages: list[Any]) -> Iterable[KafkaSinkMessage[bytes, bytes]]:
    """The receipts of many."""
    rows = [(m, job.decode(m.value)) for m in messages]
    found = [(m, row) for m, row in rows if row is not None]
    if not found:
        return []
    scores = job.score([row for _, row in found])
    return [sent(m, row, score) for (m, row), score in zip(found, scores, strict=True)]


def sent(message: Any, row: dict[str, Any], score: float) -> KafkaSinkMessage[bytes, bytes]:
    """A receipt as the sink takes it."""
    receipt = job.receipt(row, score, message.partition or 0, message.offset or 0)
    return KafkaSinkMessage(message.key, job.encode(receipt))


flow = Dataflow("bench")
read = op.input("read", flow, KafkaSource([job.bootstrap], [job.source], batch_size=BATCH))
scored = op.flat_map_batch("score", read, many) if how == "batched" else op.filter_map("score", read, one)
op.output("write", scored, KafkaSink([job.bootstrap], job.sink))

if __name__ == "__main__":
    cli_main(flow)
