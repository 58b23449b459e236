"""What of a pipeline is in the search engine, and what is still to come."""

from __future__ import annotations

from typing import Any

from headrace.consumers.forward.engine import Engine
from headrace.consumers.forward.shape import Shape
from headrace.kafka.log import TopicPartition
from headrace.query.lag import Lag
from headrace.topics.pipeline_topics import PipelineTopics


def state(topics: PipelineTopics, shapes: dict[str, Shape], engine: Engine) -> list[dict[str, Any]]:
    """A row for each topic: ``topic``, ``alias``, how many ``indices`` and ``documents``, how many offsets forward has
    ``passed`` (transaction markers included), and its ``lag``: records still to come.

    Raises:
        Unavailable: Kafka or the engine is away.
    """
    committed = topics.log.committed(f"{topics.pipeline.name}.forward")
    lag = Lag(topics.log)
    rows = []
    for name, shape in shapes.items():
        topic = topics.topic(name)
        bounds = topics.log.bounds(topic)
        at = {p: max(first, committed.get(TopicPartition(topic, p), first)) for p, (first, _) in bounds.items()}
        ends = topics.log.high_watermarks(topic)
        gaps = [(TopicPartition(topic, p), at[p], end) for p, end in ends.items()]
        with engine.asked(f"what is in {shape.alias}"):
            indices = engine.client.indices.get_alias(index=shape.alias, ignore_unavailable=True)
            count = engine.client.count(index=shape.alias, ignore_unavailable=True)["count"]
        rows.append(
            {
                "topic": name,
                "alias": shape.alias,
                "indices": len(indices),
                "documents": int(count),
                "passed": sum(at[p] - first for p, (first, _) in bounds.items()),
                "lag": sum(lag.of(gaps).values()),
            }
        )
    return rows
