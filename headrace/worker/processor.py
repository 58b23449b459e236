"""What the exactly-once loop runs: a processor is a function from (state, batch) to records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from headrace.kafka.log import Chunk, Output, TopicPartition

Tracked = Callable[[list[list[int]]], list[Output]]
"""From the offsets that ``Step.outputs`` got, to records that name them, in the same transaction."""


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a batch.

    Attributes:
        outputs: records to write.
        consumed: how many records of the batch, from its start, are done with. Fewer than all: the processor
            waits for something (a model, a child process); the partition pauses and the rest comes again.
        why: what it waits for, where it does not take the whole batch; shown on /health.
        tracked: where given, called with the offsets of ``outputs``; what it returns joins the transaction.
    """

    outputs: Sequence[Output] = ()
    consumed: int | None = None
    tracked: Tracked | None = field(default=None)
    why: str = ""


IDLE = Step()


class Figure(NamedTuple):
    """One figure of a processor's own.

    ``counts``: it only rises (a counter), otherwise it goes up and down (a gauge).
    """

    name: str
    doc: str
    labels: dict[str, str]
    value: float
    counts: bool = False


class Processor(Protocol):
    """A step of the stream.

    Where ``process`` leaves the state as it was when it raises, the loop halves the batch down to the record
    that fails. State is a function of the records consumed from ``rebuild_from`` on, so that the loop
    can rebuild it on a new assignment by processing them again with the outputs discarded.
    """

    name: str
    inputs: tuple[str, ...]
    atomic: bool
    """Whether ``process`` leaves the state as it was when it raises. Where it does not, an error in it is no
    record's fault: the worker stops, and its state is rebuilt when it starts again."""

    batch: int
    """Records to read at a time: enough for fixed costs not to matter, few enough to stay in the core's cache."""
    tracks: bool
    """Whether its steps ask for the offsets of what they write."""
    timed: bool
    """Whether it looks at the timestamps of records."""

    def process(self, batch: Chunk) -> Step:
        """Take records of one partition, in log order."""

    def tick(self) -> Step:
        """Called between batches: outputs that no record causes. ``consumed`` is ignored."""

    def rebuild_from(self, tp: TopicPartition, position: int) -> int:
        """Earliest offset of ``tp`` from which the state that holds at ``position`` can be rebuilt."""

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        """These partitions are ours now. Their state starts empty and is rebuilt right after this.

        None: those there were are taken away; none once more: others have them now. What no record of the log depends
        on, as a child process at work, may be kept in between.
        """

    def figures(self) -> Iterable[Figure]:
        """What the processor tells of itself beside what its loop does, for /metrics. Called from another thread."""

    def close(self) -> None:
        """Let go of threads, child processes and files."""


class Stateless:
    """Defaults for processors that keep no state from record to record."""

    name: str
    inputs: tuple[str, ...]
    atomic = True
    batch = 10_000
    tracks = False
    timed = False

    def tick(self) -> Step:
        return IDLE

    def rebuild_from(self, tp: TopicPartition, position: int) -> int:
        return position

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        pass

    def figures(self) -> Iterable[Figure]:
        return ()

    def close(self) -> None:
        pass
