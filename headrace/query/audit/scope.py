"""What an audit reads and judges: offsets, fixed before the first record is read, so that a live log can be audited."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from headrace.kafka.span import Span
from headrace.query.audit.report import Report
from headrace.query.audit.tables import TOPICS as READ
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS

INPUTS = {"preprocess": ("raw",), "infer": ("features",), "join": ("features", "labels", "predictions")}
"""Processors whose outcomes are held against their inputs, record by record."""

SETTLE_S = 20.0
"""How long an open transaction may take to end: longer than brokers and loops let one stay open."""
POLL_S = 0.2
SKEW = timedelta(minutes=5)
"""How far producers' clocks may be apart: outcomes are read from so long before the first input judged."""

ByPartition = dict[int, int]


@dataclass(frozen=True)
class Window:
    """Which inputs are judged: those that came to the log from ``start`` to before ``stop``; None: no limit."""

    start: datetime | None = None
    stop: datetime | None = None


@dataclass(frozen=True)
class Scope:
    """The offsets of one partition.

    Attributes:
        first: topic -> first offset there is.
        reads: topic -> offsets read.
        judged: processor -> input topic -> offsets of inputs whose outcomes are judged.
    """

    first: dict[str, int]
    reads: dict[str, Span]
    judged: dict[str, dict[str, Span]]

    @property
    def size(self) -> int:
        """Offsets to be read, those of recomputing among them."""
        again = (span.stop - self.first[name] for spans in self.judged.values() for name, span in spans.items())
        return sum(span.stop - span.start for span in self.reads.values()) + sum(max(0, n) for n in again)


def scopes(topics: PipelineTopics, report: Report, window: Window) -> dict[int, Scope]:
    """The scope of each partition. Waits until the transactions that are open now have ended.

    What was committed is asked first, and a topic before those it is made from: then every input judged has its
    outcome among those read, and every outcome read has its input.
    """
    committed = {name: topics.log.committed(f"{topics.pipeline.name}.{name}") for name in INPUTS}
    ends = {name: _settled(topics, report, name) for name in reversed(TOPICS)}
    first = {name: {p: a for p, (a, _) in topics.log.bounds(topics.topic(name)).items()} for name in READ}
    starts = _from(topics, first, window.start)
    reads = _from(topics, first, window.start - SKEW if window.start else None)
    stops = _from(topics, ends, window.stop)

    def judged(processor: str, name: str, p: int) -> Span:
        until = committed[processor].get(topics.tp(name, p), 0)
        return Span(starts[name][p], min(until, ends[name][p], stops[name][p]))

    return {
        p: Scope(
            first={name: first[name][p] for name in READ},
            reads={name: Span(reads[name][p], ends[name][p]) for name in READ},
            judged={proc: {name: judged(proc, name, p) for name in names} for proc, names in INPUTS.items()},
        )
        for p in range(topics.log.partitions(topics.topic("features")))
    }


def _from(topics: PipelineTopics, otherwise: dict[str, ByPartition], when: datetime | None) -> dict[str, ByPartition]:
    """Topic -> partition -> first offset at or after a time; without one, as given."""
    if when is None:
        return otherwise
    return {name: topics.log.offsets_at(topics.topic(name), when) for name in READ}


def _settled(topics: PipelineTopics, report: Report, name: str) -> ByPartition:
    """Partition -> end of a topic, once no transaction that is open now holds anything back."""
    topic = topics.topic(name)
    ends = topics.log.high_watermarks(topic)
    deadline = time.monotonic() + SETTLE_S
    while True:
        stable = {p: last for p, (_, last) in topics.log.bounds(topic).items()}
        stuck = {p: end for p, end in ends.items() if stable[p] < end}
        if not stuck or time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    report.checked("settled", "partitions", len(ends))
    for p, end in stuck.items():
        what = f"a transaction has been open from here for over {SETTLE_S:g} s; the log goes on to {end}"
        report.broken("settled", "partitions", (topic, p), [stable[p]], what)
    return {p: min(end, stable[p]) for p, end in ends.items()}
