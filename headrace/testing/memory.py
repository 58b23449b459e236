"""A platform in memory: the log and the registry of tests that need no servers."""

from __future__ import annotations

from headrace.declare.pipeline import Pipeline
from headrace.kafka.memory import MemoryLog
from headrace.schema.registry import MemoryRegistry
from headrace.topics.pipeline_topics import PipelineTopics


def in_memory(pipeline: Pipeline, log: MemoryLog | None = None) -> PipelineTopics:
    """A pipeline's topics, made, on a log in this process (a new one, if none is given) with a registry of its own."""
    topics = PipelineTopics(pipeline, log or MemoryLog(), MemoryRegistry())
    topics.init()
    return topics
