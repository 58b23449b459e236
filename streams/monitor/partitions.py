"""Which partitions hold rows: offsets do not tell, since markers and ended transactions have some too."""

from __future__ import annotations

from headrace.topics.pipeline_topics import PipelineTopics


def with_rows(topics: PipelineTopics, name: str) -> set[int]:
    """The partitions of a topic that hold a record of its first type now."""
    ends = {topics.tp(name, p): (first, end) for p, (first, end) in topics.log.bounds(topics.topic(name)).items()}
    waiting = {tp: end for tp, (first, end) in ends.items() if first < end}
    found: set[int] = set()
    if not waiting:
        return found
    codec = topics.codec(name)
    reader = topics.log.reader({tp: ends[tp][0] for tp in waiting})
    try:
        while waiting:
            for chunk in reader.poll(1_000, 0.03):
                if chunk.tp in waiting and len(codec.decode(chunk.values).places()):
                    found.add(chunk.tp.partition)
                    del waiting[chunk.tp]
            waiting = {tp: end for tp, end in waiting.items() if reader.reached(tp) < end}
    finally:
        reader.close()
    return found
