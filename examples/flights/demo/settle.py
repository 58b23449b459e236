"""Waiting for the processors to have done everything: by their groups' positions, not by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from headrace.errors import StackError
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import TopicPartition
from headrace.topics.pipeline_topics import PipelineTopics


def wait_until(condition: Callable[[], bool], what: str, seconds: float, turn: Callable[[], None]) -> None:
    """Wait for a condition, calling ``turn`` meanwhile.

    Raises:
        StackError: it did not come about in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"{what} did not happen within {seconds:g} s: see the logs in the state folder")
        turn()
        time.sleep(0.2)


def read_through(topics: PipelineTopics, log: KafkaLog, stage: str, inputs: tuple[str, ...]) -> bool:
    """Whether a stage's group has committed past the last record of each partition of its inputs."""
    committed = log.committed(topics.pipeline.name + "." + stage)
    for name in inputs:
        for partition, (first, end) in log.bounds(topics.topic(name)).items():
            tp = topics.tp(name, partition)
            if committed.get(tp, first) < end and _records_from(log, tp, committed.get(tp, first), end):
                return False
    return True


def _records_from(log: KafkaLog, tp: TopicPartition, start: int, end: int) -> bool:
    """Whether there is any record in [start, end): the rest may be markers of transactions alone."""
    reader = log.reader({tp: start})
    try:
        deadline = time.monotonic() + 5
        while reader.reached(tp) < end and time.monotonic() < deadline:
            for chunk in reader.poll(10, 0.05):
                if np.any(chunk.offsets < end):
                    return True
    finally:
        reader.close()
    return False
