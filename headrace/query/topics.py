"""A pipeline's topics: what each carries, how long it is kept, and how far it reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from headrace.kafka.log import TopicPartition, read_range
from headrace.kafka.span import Span
from headrace.progress import SILENT, Progress
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS


@dataclass(frozen=True)
class TopicView:
    """One topic.

    Attributes:
        name: its name within the pipeline.
        topic: its full name.
        carries: its record types.
        kept: its retention.
        offsets: partition -> first offset, and the end of what is committed.
        records: partition -> committed records; None where they were not counted.
    """

    name: str
    topic: str
    carries: tuple[str, ...]
    kept: str
    offsets: dict[int, Span]
    records: dict[int, int] | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        partitions = {
            p: {"first": span.start, "end": span.stop, **({"records": self.records[p]} if self.records else {})}
            for p, span in self.offsets.items()
        }
        return {"topic": self.topic, "carries": list(self.carries), "kept": self.kept, "partitions": partitions}


def topic_views(topics: PipelineTopics) -> list[TopicView]:
    """Every topic of a pipeline, in the order of the topic table.

    Raises:
        ConfigError: the pipeline has no topics on this cluster.
        Unavailable: Kafka is away.
    """
    return [
        TopicView(
            name,
            topics.topic(name),
            topic.records,
            topic.retention,
            {p: Span(*span) for p, span in sorted(topics.log.bounds(topics.topic(name)).items())},
        )
        for name, topic in TOPICS.items()
    ]


def count_records(topics: PipelineTopics, views: Sequence[TopicView], progress: Progress = SILENT) -> list[TopicView]:
    """The same, with the committed records of each partition counted, by reading them."""
    counted = []
    for view in views:
        progress.begins(f"counting {view.topic}", sum(span.stop - span.start for span in view.offsets.values()))
        records = dict.fromkeys(view.offsets, 0)
        for chunk in read_range(topics.log, {TopicPartition(view.topic, p): s for p, s in view.offsets.items()}):
            records[chunk.tp.partition] += len(chunk)
            progress.advanced(len(chunk))
        counted.append(replace(view, records=records))
    return counted
