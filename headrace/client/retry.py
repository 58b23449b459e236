"""Putting the records of dead letters back where they came from, each once."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.errors import ConfigError
from headrace.kafka.coordinate import Coordinate
from headrace.kafka.log import Output, TopicPartition
from headrace.query.dead.letters import dead_letters, source
from headrace.schema.records import DeadLetter, DeadRetry
from headrace.topics.pipeline_topics import LONGEST_KEPT, PipelineTopics

SOURCES = ("raw", "features", "labels")
"""Topics that records are put back to: those that processors make something of."""


def retry(topics: PipelineTopics, places: Iterable[Coordinate], by: str) -> list[DeadRetry]:
    """Write the original records again at the end of the partitions they came from, and a trace of each.

    Records and traces are one transaction: a crash leaves both or neither. The writer's name is the pipeline's own,
    so that of two people who retry at once one is refused.

    Raises:
        ConfigError: a letter is not there, was retried before, or its record cannot be put back. Nothing was written.
        Fenced: someone else retries at the same time. Nothing was written.
    """
    writer = topics.log.writer(f"{topics.pipeline.name}.dead.retry")
    try:
        found = dead_letters(topics, settled=True)
        letters = {place: found[place] for place in dict.fromkeys(places)}
        for place, letter in letters.items():
            if done := found.retries.get(place):
                where = f"{done.topic}[{done.partition}] {done.offset}"
                raise ConfigError(
                    f"dead letter {place} was retried before: by {done.by} at {done.at:%F %T}, to {where}"
                )
            _may_go_back(topics, place, letter)
        if not letters:
            return []
        writer.begin()
        outputs = [_record(letter) for letter in letters.values()]
        offsets = [placed[0] for placed in writer.write_and_wait(outputs)]
        traces = [
            DeadRetry(
                letter_partition=place.partition,
                letter_offset=place.offset,
                topic=output.tp.topic,
                partition=output.tp.partition,
                offset=offset,
                by=by,
            )
            for place, output, offset in zip(letters, outputs, offsets, strict=True)
        ]
        for trace in traces:
            writer.write(topics.control("dead", [trace], [by], partition=trace.letter_partition))
        writer.commit()
        return traces
    finally:
        writer.close()


def _may_go_back(topics: PipelineTopics, place: Coordinate, letter: DeadLetter) -> None:
    known = f"dead letter {place} ({source(letter)})"
    if letter.partition < 0:
        raise ConfigError(f"{known} is a row of a file: mend the file and push it again")
    if topics.short(letter.topic) not in SOURCES:
        raise ConfigError(f"{known} cannot be retried: records go back to {', '.join(SOURCES)} only")
    if letter.value is not None and len(letter.value) >= LONGEST_KEPT:
        raise ConfigError(f"{known} was over {LONGEST_KEPT} bytes and is not kept whole: push it anew")


def _record(letter: DeadLetter) -> Output:
    return Output(TopicPartition(letter.topic, letter.partition), [letter.key], [letter.value])
