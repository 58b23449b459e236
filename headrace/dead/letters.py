"""The dead letters of a pipeline with their coordinates, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from headrace.errors import ConfigError
from headrace.log.base import read_all
from headrace.log.pipeline_log import PipelineLog
from headrace.records import DeadLetter, DeadRetry


class Place(NamedTuple):
    """Where a dead letter stands on the dead topic; written ``partition:offset``."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def read(cls, text: str) -> Place:
        """From ``partition:offset``.

        Raises:
            ConfigError: it is not of that form.
        """
        partition, colon, offset = text.partition(":")
        if not (colon and partition.isdecimal() and offset.isdecimal()):
            raise ConfigError(
                f"{text}: name a dead letter as PARTITION:OFFSET, as `headrace dead list` does, e.g. 0:17"
            )
        return cls(int(partition), int(offset))


@dataclass
class Letters:
    """Every dead letter, partition by partition, and the retries."""

    letters: dict[Place, DeadLetter] = field(default_factory=dict)
    retries: dict[Place, DeadRetry] = field(default_factory=dict)

    def __getitem__(self, place: Place) -> DeadLetter:
        if place not in self.letters:
            raise ConfigError(f"there is no dead letter at {place}: `headrace dead list` shows those there are")
        return self.letters[place]


def dead_letters(topics: PipelineLog, *, settled: bool = False) -> Letters:
    """What the dead topic holds now; with ``settled``, transactions that are open now are waited for."""
    found = Letters()
    for chunk in read_all(topics.log, topics.topic("dead"), settled=settled):
        for offset, record in topics.control_records(chunk):
            if isinstance(record, DeadLetter):
                found.letters[Place(chunk.tp.partition, offset)] = record
            elif isinstance(record, DeadRetry):
                found.retries[Place(record.letter_partition, record.letter_offset)] = record
    return found


def source(letter: DeadLetter) -> str:
    """Where its record came from, as people read it."""
    if letter.partition < 0:
        return f"{letter.topic}:{letter.offset}"
    return f"{letter.topic}[{letter.partition}] {letter.offset}"
