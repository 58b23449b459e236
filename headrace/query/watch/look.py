"""Looks at a pipeline's topics and groups, again and again; each look reads only what is new."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from headrace.governance.catalog import Governance
from headrace.kafka.log import Chunk, Reader, TopicPartition
from headrace.query.decisions import Decision, decision
from headrace.query.lag import Gap, Lag
from headrace.query.trouble import Trouble, troubles
from headrace.query.watch.view import Flow, InForce, View, Windows
from headrace.schema.records import DeadLetter, Metric, Record
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS

MEASURES = ("log_loss", "auc", "brier", "calibration_error", "labels_missing", "predictions")
"""What is shown of a model's accuracy; a window counts once the first of them is there."""
SHOWN = 12
TROUBLES_S = 10.0
READ = 10_000
POLL_S = 0.02


class Watch:
    """A pipeline under watch. Dead letters count from its beginning on, the other records from theirs.

    Args:
        topics: the pipeline's topics.
        processors: names of the processors whose groups are watched.
    """

    def __init__(self, topics: PipelineTopics, processors: Sequence[str]) -> None:
        self._topics = topics
        self._processors = processors
        self._state = Governance()
        self._windows = Windows()
        self._decisions: deque[Decision] = deque(maxlen=SHOWN)
        self._dead: Counter[str] = Counter()
        bounds = topics.log.bounds
        self._control: dict[str, Reader] = {
            name: topics.log.reader({topics.tp(name): bounds(topics.topic(name))[0][0]})
            for name in ("decisions", "metrics")
        }
        ends = {topics.tp("dead", p): end for p, (_, end) in bounds(topics.topic("dead")).items()}
        self._control["dead"] = topics.log.reader(ends)
        self._before: dict[str, tuple[float, dict[TopicPartition, int]]] = {}
        self._lag = Lag(topics.log)
        self._troubles: list[Trouble] = []
        self._troubles_due = 0.0

    def look(self) -> View:
        """The pipeline now.

        Raises:
            Unavailable: Kafka or the registry is away.
        """
        for name, reader in self._control.items():
            for offset, record in self._new(reader):
                self._take(name, offset, record)
        committed = {p: self._topics.log.committed(f"{self._topics.pipeline.name}.{p}") for p in self._processors}
        ends = {name: self._topics.log.high_watermarks(self._topics.topic(name)) for name in TOPICS}
        gaps = {p: self._gaps(at, ends) for p, at in committed.items()}
        lags = self._lag.of(gap for found in gaps.values() for gap in found)
        return View(
            pipeline=self._topics.pipeline.name,
            at=datetime.now(UTC),
            flows=[self._flow(p, committed[p], sum(lags[gap] for gap in gaps[p])) for p in self._processors],
            models=self._in_force(committed["infer"]),
            drift=self._windows.drift(),
            accuracy=self._windows.accuracy(MEASURES),
            decisions=list(reversed(self._decisions)),
            troubles=self._troubled(),
            dead=dict(self._dead.most_common()),
        )

    def _troubled(self) -> list[Trouble]:
        """What goes wrong; looked for now and then, as it reads the last dead letters again."""
        if time.monotonic() >= self._troubles_due:
            self._troubles = troubles(self._topics)
            self._troubles_due = time.monotonic() + TROUBLES_S
        return self._troubles

    def close(self) -> None:
        """Let go of connections."""
        for reader in self._control.values():
            reader.close()

    def _new(self, reader: Reader) -> Iterator[tuple[int, Record]]:
        """What has come since the last look, as far as it can be decoded."""
        chunks: list[Chunk] = reader.poll(READ, POLL_S)
        while chunks:
            for chunk in chunks:
                yield from self._topics.control_records(chunk)
            chunks = reader.poll(READ, POLL_S)

    def _take(self, name: str, offset: int, record: Record) -> None:
        match record:
            case Metric():
                self._windows.take(record)
            case DeadLetter():
                self._dead[f"{record.stage}: {record.code}"] += 1
        if name == "decisions":
            self._state.take(offset, record)
            self._decisions.append(decision(record))

    def _gaps(self, committed: dict[TopicPartition, int], ends: dict[str, dict[int, int]]) -> list[Gap]:
        """What is between a group's committed offsets and the ends of its topics."""
        return [(tp, at, ends[self._topics.short(tp.topic)].get(tp.partition, 0)) for tp, at in committed.items()]

    def _flow(self, processor: str, at: dict[TopicPartition, int], lag: int) -> Flow:
        now = time.monotonic()
        then, before = self._before.get(processor, (now, at))
        self._before[processor] = (now, at)
        passed = sum(max(0, offset - before.get(tp, offset)) for tp, offset in at.items())
        members = self._topics.log.members(f"{self._topics.pipeline.name}.{processor}")
        return Flow(processor, len(members), passed / (now - then) if now > then else 0.0, lag)

    def _in_force(self, committed: dict[TopicPartition, int]) -> list[InForce]:
        found = []
        for partition in sorted(self._topics.log.high_watermarks(self._topics.topic("features"))):
            at = committed.get(self._topics.tp("features", partition), 0)
            marked = self._state.timeline.at(partition, at)
            if marked is not None:
                weights = [route.weight for route in marked.policy.routes]
                shares = tuple(w / sum(weights) for w in weights)
                shadows = len(marked.policy.shadows)
                found.append(InForce(partition, marked.policy.champion, marked.offset, shadows, shares))
        return found
