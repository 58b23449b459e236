"""Which partitions hold rows: offsets do not tell, since markers and ended transactions have some too."""

from __future__ import annotations

from headrace.streams.ahead import WORKER_CLOCKS, ahead
from headrace.topics.pipeline_topics import PipelineTopics


def with_rows(topics: PipelineTopics, name: str) -> set[int]:
    """The partitions of a topic that hold a record of its first type now, of a time that is not ahead of the log's."""
    ends = {topics.tp(name, p): (first, end) for p, (first, end) in topics.log.bounds(topics.topic(name)).items()}
    waiting = {tp: end for tp, (first, end) in ends.items() if first < end}
    found: set[int] = set()
    if not waiting:
        return found
    codec, allowed = topics.codec(name), topics.pipeline.clock_ahead + WORKER_CLOCKS
    reader = topics.log.reader({tp: ends[tp][0] for tp in waiting})
    try:
        while waiting:
            for chunk in reader.poll(1_000, 0.03):
                decoded = codec.decode(chunk.values)
                times = decoded.frame(names=["event_time"])["event_time"]
                if chunk.tp in waiting and not ahead(chunk, decoded.places(), times, allowed).all():
                    found.add(chunk.tp.partition)
                    del waiting[chunk.tp]
            waiting = {tp: end for tp, end in waiting.items() if reader.reached(tp) < end}
    finally:
        reader.close()
    return found
