"""Quix Streams, exactly once. ``quix.py plain``: a row at a time, as its documentation has it. ``quix.py batched``: by
the thousand, gathered by hand in a closure, which gives up exactly-once for what is gathered when it stops.
"""

from __future__ import annotations

import sys
from typing import Any

from job import BATCH, Job
from quixstreams import Application, message_context

how = sys.argv[1]
job = Job()
app = Application(
    broker_address=job.bootstrap,
    consumer_group=job.group,
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    commit_interval=0.1,
    auto_create_topics=False,
    loglevel="WARNING",
    state_dir=str(job.folder / "quix"),
)
source = app.topic(job.source, value_deserializer="bytes")
sink = app.topic(job.sink, value_serializer="bytes")
gathered: list[tuple[dict[str, Any], int, int]] = []


def one(value: bytes) -> bytes | None:
    """The receipt of a record."""
    row = job.decode(value)
    if row is None:
        return None
    at = message_context()
    return job.encode(job.receipt(row, job.score([row])[0], at.partition, at.offset))


def many(value: bytes) -> list[bytes]:
    """The receipts of a thousand records, when there are as many."""
    row = job.decode(value)
    if row is not None:
        at = message_context()
        gathered.append((row, at.partition, at.offset))
    if len(gathered) < BATCH:
        return []
    scores = job.score([row for row, _, _ in gathered])
    receipts = [job.encode(job.receipt(row, s, p, o)) for (row, p, o), s in zip(gathered, scores, strict=True)]
    gathered.clear()
    return receipts


frame = app.dataframe(source)
scored = frame.apply(many, expand=True) if how == "batched" else frame.apply(one).filter(lambda v: v is not None)
scored.to_topic(sink)
app.run()
