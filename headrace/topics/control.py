"""Control records written in a transaction of their own."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from headrace.schema.records import Record
from headrace.topics.pipeline_topics import PipelineTopics


def write_control(topics: PipelineTopics, name: str, records: Sequence[Record], keys: Sequence[str]) -> list[int]:
    """Write control records in a transaction of their own; gives their offsets."""
    output = topics.control(name, records, keys)
    writer = topics.log.writer(f"{topics.pipeline.name}.orders.{uuid.uuid4().hex[:8]}")
    try:
        writer.begin()
        offsets = writer.write_and_wait([output])[0]
        writer.commit()
    finally:
        writer.close()
    return offsets
