"""Small processors to run the exactly-once loop on, and the pure functions that say what they must give."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.errors import Unavailable
from headrace.kafka.log import Chunk, Log, Output, TopicPartition, read_all
from headrace.worker.processor import IDLE, Stateless, Step

DEAD = "dead"


def dead_letter(chunk: Chunk, trace: str) -> Output:
    """A dead letter that carries the record's value."""
    return Output(TopicPartition(DEAD, chunk.tp.partition), chunk.keys, chunk.values)


def output_of(tp: TopicPartition, values: Sequence[bytes | None]) -> Output:
    """Records without keys."""
    return Output(tp, [None] * len(values), values)


def values_of(log: Log, topic: str, *, settled: bool = False) -> dict[int, list[str]]:
    """Partition -> its committed values, in order; with ``settled``, open transactions are waited for."""
    found: dict[int, list[str]] = {p: [] for p in range(log.partitions(topic))}
    for chunk in read_all(log, topic, settled=settled):
        found[chunk.tp.partition] += [(v or b"").decode() for v in chunk.values]
    return found


class PassThrough(Stateless):
    """Each record of ``source`` as it is, in the same partition of ``sink``.

    A record ``bad...`` fails; while ``away`` is set, every call meets an outage; records from ``gate`` on wait.
    """

    name = "pass"

    def __init__(self, source: str, sink: str) -> None:
        self.inputs = (source,)
        self._sink = sink
        self.away = False
        self.gate: int | None = None
        self.calls: list[int] = []

    def process(self, batch: Chunk) -> Step:
        self.calls.append(len(batch))
        if self.away:
            raise Unavailable("the registry is away")
        if any((v or b"").startswith(b"bad") for v in batch.values):
            raise ValueError("a bad record")
        passed = len(batch) if self.gate is None else int((batch.offsets < self.gate).sum())
        values = batch.values[:passed]
        return Step([output_of(TopicPartition(self._sink, batch.tp.partition), values)], consumed=passed)


class RunningCount(Stateless):
    """Each record with the number of times its value was seen among the last ``horizon`` offsets of its partition.

    State can be rebuilt from ``horizon`` offsets before any position.
    """

    name = "count"

    def __init__(self, source: str, sink: str, horizon: int = 50) -> None:
        self.inputs = (source,)
        self._sink = sink
        self._horizon = horizon
        self.seen: dict[TopicPartition, list[tuple[int, bytes]]] = {}

    def process(self, batch: Chunk) -> Step:
        if any(v == b"bad" for v in batch.values):
            raise ValueError("a bad record")
        seen = self.seen.setdefault(batch.tp, [])
        counted = []
        for offset, value in zip(batch.offsets.tolist(), batch.values, strict=True):
            assert value is not None
            seen.append((offset, value))
            recent = sum(1 for o, v in seen if o > offset - self._horizon and v == value)
            counted.append(b"%s:%d" % (value, recent))
        seen[:] = [(o, v) for o, v in seen if o > seen[-1][0] - self._horizon]
        return Step([output_of(TopicPartition(self._sink, batch.tp.partition), counted)])

    def rebuild_from(self, tp: TopicPartition, position: int) -> int:
        return max(0, position - self._horizon)

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self.seen = {}


def counts(records: Sequence[tuple[int, str]], horizon: int = 50) -> list[str]:
    """What :class:`RunningCount` gives for a partition's records (offset, value): its specification."""
    good = [(o, v) for o, v in records if v != "bad"]
    return [
        f"{value}:{sum(1 for o, v in good if offset - horizon < o <= offset and v == value)}" for offset, value in good
    ]


class Ticking(PassThrough):
    """Passes records through, and writes to ``beat`` what it was told to, once."""

    name = "tick"

    def __init__(self, source: str, sink: str, beat: str) -> None:
        super().__init__(source, sink)
        self._beat = TopicPartition(beat, 0)
        self.due: list[bytes] = []

    def tick(self) -> Step:
        if not self.due:
            return IDLE
        due, self.due = self.due, []
        return Step([output_of(self._beat, due)])


class Tracking(Stateless):
    """Passes records through, and names in ``index`` the offset of each, in the same transaction."""

    name = "track"

    def __init__(self, source: str, sink: str, index: str) -> None:
        self.inputs = (source,)
        self._sink = sink
        self._index = index
        self.away = 0

    def process(self, batch: Chunk) -> Step:
        def named(offsets: list[list[int]]) -> list[Output]:
            if self.away:
                self.away -= 1
                raise Unavailable("the registry is away")
            return [
                output_of(
                    TopicPartition(self._index, batch.tp.partition),
                    [b"%s@%d" % (v or b"", o) for v, o in zip(batch.values, offsets[0], strict=True)],
                )
            ]

        return Step([output_of(TopicPartition(self._sink, batch.tp.partition), batch.values)], tracked=named)
