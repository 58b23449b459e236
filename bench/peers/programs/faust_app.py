"""Faust (faust-streaming). ``plain``: an agent over events. ``batched``: the same with ``take``. At least once."""

from __future__ import annotations

import os
import sys

how = sys.argv.pop(1)
os.environ.setdefault("FAUST_LOOP", "aio")

import faust  # noqa: E402 - it reads the command line
from job import BATCH, Job  # noqa: E402

job = Job()
app = faust.App(
    job.group,
    broker=f"kafka://{job.bootstrap}",
    datadir=str(job.folder / "faust"),
    consumer_auto_offset_reset="earliest",
    topic_disable_leader=True,
    web_enabled=False,
    stream_wait_empty=False,
)
source = app.topic(job.source, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw")
sink = app.topic(job.sink, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw")


async def plain(stream):  # type: ignore[no-untyped-def]
    """A row at a time."""
    async for event in stream.events():
        row = job.decode(event.value)
        if row is None:
            continue
        at = event.message
        receipt = job.receipt(row, job.score([row])[0], at.partition, at.offset)
        await sink.send(key=event.key, value=job.encode(receipt))


async def batched(stream):  # type: ignore[no-untyped-def]
    """By the thousand."""
    async for events in stream.take_events(BATCH, within=0.1):
        rows = [(event, job.decode(event.value)) for event in events]
        found = [(event, row) for event, row in rows if row is not None]
        if not found:
            continue
        for (event, row), score in zip(found, job.score([row for _, row in found]), strict=True):
            at = event.message
            await sink.send(key=event.key, value=job.encode(job.receipt(row, score, at.partition, at.offset)))


app.agent(source)(batched if how == "batched" else plain)

if __name__ == "__main__":
    app.main()
