"""What a loop tells of itself, for /health and /metrics. Written by the loop, read by anyone."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from headrace.kafka.log import TopicPartition

BATCHES = (1.0, 10.0, 100.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 20_000.0)
"""Upper bounds of batch sizes, in records."""
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


@dataclass
class LoopStatus:
    """One loop.

    Attributes:
        ready: whether its partitions are assigned and flow.
        paused: why it waits for a server; empty where it does not.
        rebuilding: offsets gone through and to go through, while its state is rebuilt.
        records_in: topic -> records processed.
        records_out: topic -> records written.
        dead: code -> dead letters written.
        commits, aborts: transactions.
        failures: records on which the processor's own code failed.
        positions: offset to be read next.
        ends: end of each partition, as the broker told it last.
        batches: sizes of the batches processed, records.
        process_s: time on each batch, seconds.
        commit_s: time of each commit, seconds.
    """

    ready: bool = False
    paused: str = ""
    rebuilding: tuple[int, int] | None = None
    records_in: dict[str, int] = field(default_factory=dict)
    records_out: dict[str, int] = field(default_factory=dict)
    dead: dict[str, int] = field(default_factory=dict)
    commits: int = 0
    aborts: int = 0
    failures: int = 0
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    batches: Histogram = field(default_factory=lambda: Histogram(BATCHES))
    process_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    commit_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))

    def lag(self) -> dict[TopicPartition, int]:
        """Offsets between what was read and the end, markers of transactions among them."""
        positions = dict(self.positions)
        return {tp: max(0, end - positions[tp]) for tp, end in dict(self.ends).items() if tp in positions}


def count(into: dict[str, int], what: str, more: int) -> None:
    """Add to a count."""
    into[what] = into.get(what, 0) + more
