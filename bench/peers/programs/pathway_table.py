"""Pathway. ``plain``: a function of a row. ``batched``: a function of up to a thousand. At least once."""

from __future__ import annotations

import sys

import pathway as pw
from job import BATCH, Job

how = sys.argv[1]
job = Job()
settings = {"bootstrap.servers": job.bootstrap, "group.id": job.group, "auto.offset.reset": "earliest"}


@pw.udf(deterministic=True)
def one(value: bytes) -> bytes:
    """The receipt of a record; empty for what is none."""
    row = job.decode(value)
    return b"" if row is None else job.encode(job.receipt(row, job.score([row])[0], 0, 0))


@pw.udf(deterministic=True, max_batch_size=BATCH)
def many(values: list[bytes]) -> list[bytes]:
    """The receipts of many."""
    rows = [job.decode(value) for value in values]
    sound = [row for row in rows if row is not None]
    scores = iter(job.score(sound)) if sound else iter(())
    return [b"" if row is None else job.encode(job.receipt(row, next(scores), 0, 0)) for row in rows]


table = pw.io.kafka.read(settings, job.source, format="raw", autocommit_duration_ms=100)
scored = table.select(key=pw.this.key, value=(many if how == "batched" else one)(pw.this.data))
pw.io.kafka.write(
    scored.filter(pw.this.value != b""), settings, job.sink, format="raw", key=pw.this.key, value=pw.this.value
)
pw.run(monitoring_level=pw.MonitoringLevel.NONE)
