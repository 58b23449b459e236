"""What goes wrong in a pipeline while all its processes run: records that become dead letters, trainings that fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from headrace.dead_share import too_many
from headrace.governance.catalog import published, trained_again
from headrace.kafka.log import read_range
from headrace.schema.records import DeadLetter
from headrace.topics.pipeline_topics import PipelineTopics

INPUTS = {"preprocess": "raw", "infer": "features", "join": "labels"}
"""Processor -> the topic whose records it gives results or dead letters for."""
LOOK = 2_000
"""Last offsets of a partition that are looked at."""


@dataclass(frozen=True)
class Trouble:
    """One thing that goes wrong.

    Attributes:
        what: in words, with the reason.
        see: the command that shows more.
    """

    what: str
    see: str

    def __str__(self) -> str:
        return f"{self.what}; see `{self.see}`"

    def plain(self) -> dict[str, str]:
        """As JSON takes it."""
        return asdict(self)


def troubles(topics: PipelineTopics) -> list[Trouble]:
    """What goes wrong now, judged by the last records of each partition.

    Raises:
        ConfigError: the pipeline has no topics on this cluster.
        Unavailable: Kafka is away.
    """
    letters = list(_last_letters(topics))
    found = [t for processor, name in INPUTS.items() if (t := _dead(topics, letters, processor, name)) is not None]
    failed = [letter for letter in letters if letter.stage == "retrain"]
    if failed and (trouble := _training(topics, failed[-1])) is not None:
        found.append(trouble)
    return found


def _last_letters(topics: PipelineTopics) -> Iterator[DeadLetter]:
    for partition, (first, end) in sorted(topics.log.bounds(topics.topic("dead")).items()):
        if first < end:
            for chunk in read_range(topics.log, {topics.tp("dead", partition): (end - LOOK, end)}):
                for _, record in topics.control_records(chunk):
                    if isinstance(record, DeadLetter):
                        yield record


def _dead(topics: PipelineTopics, letters: list[DeadLetter], processor: str, name: str) -> Trouble | None:
    """The share of the last records of a topic that a processor has dead-lettered."""
    mine = [letter for letter in letters if (letter.stage, letter.topic) == (processor, topics.topic(name))]
    if not mine:
        return None
    committed = topics.log.committed(f"{topics.pipeline.name}.{processor}")
    ends = {p: committed.get(topics.tp(name, p), end) for p, end in topics.log.high_watermarks(mine[0].topic).items()}
    recent = [letter for letter in mine if letter.offset >= ends.get(letter.partition, 0) - LOOK]
    records = sum(min(end, LOOK) for end in ends.values())
    if not too_many(len(recent), records):
        return None
    code = Counter(letter.code for letter in recent).most_common(1)[0][0]
    reason = next(letter.reason for letter in reversed(recent) if letter.code == code)
    return Trouble(
        f"{len(recent) / records:.0%} of the last {records:,} records of {mine[0].topic} became dead letters, most of "
        f"them {code} ({reason})",
        f"headrace dead list {topics.pipeline.name} --stage {processor}",
    )


def _training(topics: PipelineTopics, letter: DeadLetter) -> Trouble | None:
    """A training that failed, and none has given a model since."""
    last = [p.manifest.at for p in published(topics).values()]
    last += [again.at for found in trained_again(topics).values() for again in found]
    if last and letter.at is not None and max(last) > letter.at:
        return None
    what = f"the last training gave no model: {letter.code} ({letter.reason})"
    return Trouble(what, f"headrace dead list {topics.pipeline.name} --stage retrain")
