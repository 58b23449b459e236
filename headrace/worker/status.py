"""What a loop tells of itself, for /health and /metrics. Written by the loop, read by anyone."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from headrace.kafka.log import TopicPartition
from headrace.worker.processor import Step

BATCHES = (1.0, 10.0, 100.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 20_000.0)
"""Upper bounds of batch sizes, in records."""
RECENT = 10_000
"""Records over which the share of dead letters is told."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of times."""


@dataclass
class Histogram:
    """How often a value fell between which bounds.

    Attributes:
        bounds: upper bounds, rising; a last bin without one follows.
        counts: of each bin.
        total: sum of the values.
    """

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Upper bound of each bin, as OpenMetrics has it, and how many values are at or below it."""
        found, below = [], 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            below += count
            found.append((bound, below))
        return found


class Waiting(NamedTuple):
    """A partition whose records wait.

    Attributes:
        why: what for.
        since: when it began, in seconds of the monotonic clock.
    """

    why: str
    since: float


@dataclass
class LoopStatus:
    """One loop.

    Attributes:
        ready: whether its partitions are assigned and flow.
        paused: why it waits for a server; empty where it does not.
        rebuilding: offsets gone through and to go through, while its state is rebuilt.
        waiting: partitions whose records wait for something that their processor lacks.
        turned: when the loop last went round, in seconds of the monotonic clock; 0 before it has begun.
        recent: of the last records, how many were given to the processor and how many became dead letters.
        records_in: topic -> records processed.
        records_out: topic -> records written.
        dead: code -> dead letters written.
        commits, aborts: transactions.
        failures: records on which the processor's own code failed.
        positions: offset to be read next.
        ends: end of each partition, as the broker told it last.
        reached: of partitions whose records are all done with: the offset where nothing was left to read.
        batches: sizes of the batches processed, records.
        process_s: time on each batch, seconds.
        commit_s: time of each commit, seconds.
    """

    ready: bool = False
    paused: str = ""
    rebuilding: tuple[int, int] | None = None
    waiting: dict[TopicPartition, Waiting] = field(default_factory=dict)
    turned: float = 0.0
    recent: Recent = field(default_factory=lambda: Recent())
    records_in: dict[str, int] = field(default_factory=dict)
    records_out: dict[str, int] = field(default_factory=dict)
    dead: dict[str, int] = field(default_factory=dict)
    commits: int = 0
    aborts: int = 0
    failures: int = 0
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    reached: dict[TopicPartition, int] = field(default_factory=dict)
    batches: Histogram = field(default_factory=lambda: Histogram(BATCHES))
    process_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    commit_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))

    def lag(self) -> dict[TopicPartition, int]:
        """Records still to come: 0 where all is done with; else offsets, markers of transactions among them."""
        positions = dict(self.positions)
        positions |= {tp: at for tp, at in dict(self.reached).items() if tp in positions}
        return {tp: max(0, end - positions[tp]) for tp, end in dict(self.ends).items() if tp in positions}


class Recent:
    """How many of the last records became dead letters, and of which code."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, dict[str, int]]] = deque()
        self._records = 0

    def note(self, records: int, dead: Mapping[str, int]) -> None:
        """Count a batch; what is RECENT records back and more is forgotten."""
        self._batches.append((records, dict(dead)))
        self._records += records
        while self._records - self._batches[0][0] >= RECENT:
            self._records -= self._batches.popleft()[0]

    def dead(self) -> tuple[int, dict[str, int]]:
        """Records counted, and dead letters among them by code, the most frequent first."""
        batches = list(self._batches)
        found: Counter[str] = Counter()
        for _, dead in batches:
            found.update(dead)
        return sum(records for records, _ in batches), dict(found.most_common())


def dead_in(steps: Iterable[Step]) -> dict[str, int]:
    """Dead letters among what came of a batch, by code."""
    found: Counter[str] = Counter()
    for step in steps:
        for output in step.outputs:
            if output.codes:
                found.update(output.codes)
    return found


def count(into: dict[str, int], what: str, more: int) -> None:
    """Add to a count."""
    into[what] = into.get(what, 0) + more
