"""What a loop stands on: where its partitions go on, that Kafka has what this needs, that its topics are the same."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from headrace.errors import HeadraceError, RecordsLost, TopicReplaced
from headrace.kafka.background_call import BackgroundCall
from headrace.kafka.log import Log, Position, TopicPartition
from headrace.kafka.missing import Ground, Missing

log = logging.getLogger("headrace.loop")

TOPICS_S = 10.0
"""Seconds between looks at whether the topics are still those that were assigned."""
Accepted = Callable[[], Iterable[Missing]]
"""What a person has accepted as lost of the group's topics, in writing."""


class Starts(NamedTuple):
    """Where partitions go on.

    Attributes:
        positions: partition -> where from, and where its state begins.
        ends: partition -> last stable offset.
        fresh: partitions of which nothing is committed.
    """

    positions: dict[TopicPartition, Position]
    ends: Mapping[TopicPartition, int]
    fresh: list[TopicPartition]


class Footing:
    """Looks at the topics of one processor.

    Args:
        log: the cluster.
        processor: its name, for what is said.
        topics: what it reads as a group.
        accepted: looks up which losses have been accepted; asked where something is missing.
    """

    def __init__(self, log: Log, processor: str, topics: Sequence[str], accepted: Accepted) -> None:
        self._log = log
        self._processor = processor
        self._topics = topics
        self._accepted = accepted
        self._ids: dict[str, str] = {}
        self._due = 0.0
        self._asking: _TopicIds | None = None

    def starts(
        self,
        tps: Sequence[TopicPartition],
        committed: Mapping[TopicPartition, Position],
        read: Mapping[TopicPartition, int],
    ) -> Starts:
        """Where these partitions go on.

        Args:
            tps: the partitions.
            committed: what is committed of them.
            read: how far this worker had read them before.

        Raises:
            RecordsLost: Kafka has dropped records that are needed, and nobody has accepted that.
            TopicReplaced: one of the topics is another than was read.
        """
        ground = Ground.of(self._log, self._topics)
        missing = ground.missing(committed)
        # Kafka forgets what was committed of a topic that is deleted; this worker still knows that it read another.
        known = {m.tp for m in missing}
        missing += [
            Missing(tp, read.get(tp, 0), ground.firsts[tp], ground.topic_ids[tp.topic], "replaced")
            for tp in tps
            if tp not in known and self._ids.get(tp.topic, "") not in ("", ground.topic_ids[tp.topic])
        ]
        self._refuse(missing)
        self._ids = dict(ground.topic_ids)
        self._due = time.monotonic() + TOPICS_S
        positions = {tp: ground.start(tp, committed.get(tp)) for tp in tps}
        return Starts(positions, ground.ends, [tp for tp in tps if tp not in committed])

    def doubt(self) -> None:
        """Something is odd about a topic: look soon."""
        self._due = 0.0

    def look(self) -> None:
        """Now and then, see that the topics are still those whose partitions were assigned. Waits for nothing.

        Raises:
            TopicReplaced: one of them is another.
        """
        if self._asking is None:
            if self._ids and time.monotonic() >= self._due:
                self._asking = _TopicIds(self._log, self._topics)
                self._due = time.monotonic() + TOPICS_S
        elif (found := self._asking.answer()) is not None:
            self._asking = None
            if other := sorted(t for t, made in found.items() if self._ids.get(t, made) != made):
                raise TopicReplaced(
                    f"{self._processor} stops: {', '.join(other)} was deleted and made again while it was read. "
                    f"What was committed holds for the old one. {self._mend('begin with the new one')}"
                )

    def _refuse(self, missing: Sequence[Missing]) -> None:
        accepted = {(a.tp, a.topic_id): a.stop for a in self._accepted()} if missing else {}
        left = [m for m in missing if accepted.get((m.tp, m.topic_id), -1) < m.stop]
        if left:
            kind = TopicReplaced if any(m.kind == "replaced" for m in left) else RecordsLost
            raise kind(
                f"{self._processor} stops: Kafka no longer has what it needs to go on. {'; '.join(map(str, left))}. "
                f"Nothing was passed over. {self._mend('go on without them')}"
            )
        for m in missing:
            log.warning("going on without what was accepted as lost: %s", m)

    def _mend(self, what: str) -> str:
        return f"To {what}, in writing: headrace run {self._processor} PIPELINE --accept-loss"


class _TopicIds:
    """Asks for the topics' ids beside the loop."""

    def __init__(self, log: Log, topics: Sequence[str]) -> None:
        self._found: dict[str, str] = {}
        self._call = BackgroundCall(lambda: self._found.update(log.topic_ids(topics)))

    def answer(self) -> dict[str, str] | None:
        """Topic -> id; nothing while Kafka is away or a topic is not there; None before it has answered."""
        try:
            return self._found if self._call.returned(0) else None
        except HeadraceError as e:
            log.info("cannot see whether the topics are the same: %s", e)
            return {}
