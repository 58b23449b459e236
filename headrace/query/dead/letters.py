"""The dead letters of a pipeline with their coordinates, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.errors import ConfigError
from headrace.kafka.coordinate import Coordinate
from headrace.kafka.log import read_all
from headrace.schema.records import DeadLetter, DeadRetry
from headrace.topics.pipeline_topics import PipelineTopics


@dataclass
class Letters:
    """Every dead letter, partition by partition, and the retries."""

    letters: dict[Coordinate, DeadLetter] = field(default_factory=dict)
    retries: dict[Coordinate, DeadRetry] = field(default_factory=dict)

    def __getitem__(self, place: Coordinate) -> DeadLetter:
        if place not in self.letters:
            raise ConfigError(f"there is no dead letter at {place}: `headrace dead list` shows those there are")
        return self.letters[place]


def dead_letters(topics: PipelineTopics, *, settled: bool = False) -> Letters:
    """What the dead topic holds now; with ``settled``, transactions that are open now are waited for."""
    found = Letters()
    for chunk in read_all(topics.log, topics.topic("dead"), settled=settled):
        for offset, record in topics.control_records(chunk):
            if isinstance(record, DeadLetter):
                found.letters[Coordinate(chunk.tp.partition, offset)] = record
            elif isinstance(record, DeadRetry):
                found.retries[Coordinate(record.letter_partition, record.letter_offset)] = record
    return found


def source(letter: DeadLetter) -> str:
    """Where its record came from, as people read it."""
    if letter.partition < 0:
        return f"{letter.topic}:{letter.offset}"
    return f"{letter.topic}[{letter.partition}] {letter.offset}"
