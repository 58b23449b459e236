"""What a group needs of its topics to go on, and Kafka no longer has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from headrace.kafka.log import Log, Position, TopicPartition

Kind = Literal["unread", "state", "replaced"]


class Missing(NamedTuple):
    """A stretch of a partition that a group needs and Kafka does not have.

    Attributes:
        tp: the partition.
        start: first offset missing.
        stop: first offset that is there.
        topic_id: of the topic that is there now.
        kind: ``unread``: records that the group has not read. ``state``: records that its state is rebuilt from.
            ``replaced``: the topic is another than the one that was read.
    """

    tp: TopicPartition
    start: int
    stop: int
    topic_id: str
    kind: Kind

    def __str__(self) -> str:
        if self.kind == "replaced":
            return f"{self.tp}: the topic was deleted and made again since offset {self.start} was committed"
        what = "not read yet" if self.kind == "unread" else "that its state is rebuilt from"
        return f"{self.tp}: offsets {self.start} to {self.stop - 1}, {what}"


class Ground(NamedTuple):
    """What the partitions of a group's topics stand on now.

    Attributes:
        firsts: partition -> first offset that is there.
        ends: partition -> last stable offset.
        topic_ids: topic -> its id.
    """

    firsts: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    topic_ids: Mapping[str, str]

    @classmethod
    def of(cls, log: Log, topics: Iterable[str]) -> Ground:
        """Ask the cluster.

        Raises:
            ConfigError: a topic is not there.
            Unavailable: Kafka is away.
        """
        names = sorted(set(topics))
        bounds = {TopicPartition(t, p): span for t in names for p, span in log.bounds(t).items()}
        firsts, ends = ({tp: span[side] for tp, span in bounds.items()} for side in (0, 1))
        return cls(firsts, ends, log.topic_ids(names))

    def missing(self, committed: Mapping[TopicPartition, Position]) -> list[Missing]:
        """What is missing of partitions with these positions, in order."""
        found = []
        for tp, at in sorted(committed.items()):
            if tp not in self.firsts:
                continue
            first, topic_id = self.firsts[tp], self.topic_ids[tp.topic]
            if at.topic_id and at.topic_id != topic_id:
                found.append(Missing(tp, at.offset, first, topic_id, "replaced"))
            elif at.offset < first:
                found.append(Missing(tp, at.offset, first, topic_id, "unread"))
            elif at.rebuild_from < first:
                found.append(Missing(tp, at.rebuild_from, first, topic_id, "state"))
        return found

    def start(self, tp: TopicPartition, at: Position | None) -> Position:
        """Where a partition goes on: from what is committed, or from the first offset that is there where nothing is,
        or where what is committed is missing."""
        first, topic_id = self.firsts[tp], self.topic_ids[tp.topic]
        if at is None or at.offset < first or (at.topic_id and at.topic_id != topic_id):
            return Position(first, first, topic_id)
        return Position(at.offset, max(at.rebuild_from, first), topic_id)
