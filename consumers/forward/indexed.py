"""``audit --search``: the search engine holds each record that was forwarded, once, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from headrace.consumers.forward.documents import document_id
from headrace.consumers.forward.engine import Engine
from headrace.consumers.forward.shape import Shape
from headrace.errors import ConfigError
from headrace.kafka.log import TopicPartition, read_range
from headrace.progress import SILENT, Progress
from headrace.query.audit.report import Report, Rule
from headrace.query.audit.scope import Window
from headrace.topics.pipeline_topics import PipelineTopics

RULE: Rule = "indexed"
STRETCH = 5_000
"""Records that are asked for at a time; an engine answers with 10,000 documents at most."""
PAGE = 10_000
GROUP = "forward"


class Held(NamedTuple):
    """What the engine holds of a stretch of a partition: ids, and how many documents in all."""

    ids: Counter[str]
    total: int


def indexed(
    topics: PipelineTopics,
    shapes: dict[str, Shape],
    engine: Engine,
    report: Report,
    window: Window | None = None,
    progress: Progress = SILENT,
) -> None:
    """Hold the engine's ids against the log's coordinates, and write into the report what is found.

    A record before forward's committed offset is in the engine, or has a dead letter that says why not; what the engine
    holds beyond that offset is on the log too. Documents of records that the log holds no more are counted.

    Raises:
        ConfigError: nothing has been forwarded yet.
        Unavailable: Kafka, the registry or the engine is away.
    """
    committed = topics.log.committed(f"{topics.pipeline.name}.{GROUP}")
    if not committed:
        raise ConfigError(
            f"pipeline {topics.pipeline.name} has not been forwarded: start `headrace run forward` and try again"
        )
    window = window or Window()
    refused = _refused(topics)
    with engine.asked("a refresh"):
        for shape in shapes.values():
            engine.client.indices.refresh(index=shape.alias, ignore_unavailable=True)
    spans = {name: _spans(topics, name, committed, window) for name in shapes}
    progress.begins("asking the search engine", sum(max(0, c - a) for s in spans.values() for a, c, _ in s.values()))
    for name, shape in shapes.items():
        for partition, (start, stop, end) in spans[name].items():
            check = _Partition(engine, shape, TopicPartition(topics.topic(name), partition), report)
            check.passed(topics, start, stop, refused.get((topics.topic(name), partition), frozenset()), progress)
            if window.stop is None:
                check.beyond(topics, stop, end)
        if window == Window():
            _strangers(engine, shape, spans[name], topics.topic(name), report)


class _Partition:
    """One partition's documents held against its records."""

    def __init__(self, engine: Engine, shape: Shape, tp: TopicPartition, report: Report) -> None:
        self._engine = engine
        self._shape = shape
        self._tp = tp
        self._report = report

    def passed(
        self, topics: PipelineTopics, start: int, stop: int, refused: frozenset[int], progress: Progress
    ) -> None:
        """Each record from ``start`` to before ``stop`` is there once; between them there is nothing."""
        asked = start
        for chunk in read_range(topics.log, {self._tp: (start, stop)}, STRETCH):
            offsets = [o for o in chunk.offsets.tolist() if o not in refused]
            self._compare(asked, chunk.next_offset, offsets, complete=True)
            asked = chunk.next_offset
            progress.advanced(len(chunk))
        self._compare(asked, stop, [], complete=True)

    def beyond(self, topics: PipelineTopics, stop: int, end: int) -> None:
        """What is there from ``stop`` on has its record."""
        asked = stop
        for chunk in read_range(topics.log, {self._tp: (stop, end)}, STRETCH):
            self._compare(asked, chunk.next_offset, chunk.offsets.tolist(), complete=False)
            asked = chunk.next_offset
        self._compare(asked, 2**62, [], complete=False)

    def _compare(self, start: int, stop: int, offsets: list[int], *, complete: bool) -> None:
        if start >= stop:
            return
        held = _held(self._engine, self._shape, self._tp.partition, start, stop)
        wanted = {document_id(*self._tp, offset): offset for offset in offsets}
        self._report.checked(RULE, self._shape.topic.name, len(offsets) if complete else len(held.ids))
        if complete:
            missing = [offset for id_, offset in wanted.items() if id_ not in held.ids]
            self._broken(missing, "it was passed on, and is not in the search engine")
        twice = [wanted.get(id_, start) for id_, n in held.ids.items() if n > 1]
        self._broken(twice, "it is in the search engine twice, in two indices")
        strange = [id_ for id_ in held.ids if id_ not in wanted]
        self._broken(map(_offset, strange), "the search engine holds a document of it, and the log has no such record")
        if held.total > sum(held.ids.values()):
            what = f"the search engine holds {held.total} documents of offsets {start} to {stop}"
            self._broken([start], what)

    def _broken(self, offsets: Iterable[int], what: str) -> None:
        self._report.broken(RULE, self._shape.topic.name, self._tp, offsets, what)


def _spans(
    topics: PipelineTopics, name: str, committed: dict[TopicPartition, int], window: Window
) -> dict[int, tuple[int, int, int]]:
    """Partition -> first offset asked for, the first that forward has not passed, and the end."""
    topic = topics.topic(name)
    bounds = topics.log.bounds(topic)
    starts = topics.log.offsets_at(topic, window.start) if window.start else {p: a for p, (a, _) in bounds.items()}
    stops = topics.log.offsets_at(topic, window.stop) if window.stop else {p: b for p, (_, b) in bounds.items()}
    found = {}
    for p, (first, end) in bounds.items():
        start = max(first, starts[p])
        found[p] = (start, max(start, min(stops[p], committed.get(TopicPartition(topic, p), 0))), end)
    return found


def _held(engine: Engine, shape: Shape, partition: int, start: int, stop: int) -> Held:
    query = {
        "bool": {"filter": [{"term": {"@partition": partition}}, {"range": {"@offset": {"gte": start, "lt": stop}}}]}
    }
    with engine.asked(f"ids in {shape.alias}"):
        found = engine.client.search(
            index=shape.alias,
            query=query,
            size=PAGE,
            source=False,
            track_total_hits=True,
            ignore_unavailable=True,
            allow_no_indices=True,
        )
    hits = found["hits"]
    return Held(Counter(hit["_id"] for hit in hits["hits"]), int(hits["total"]["value"]))


def _strangers(
    engine: Engine, shape: Shape, spans: dict[int, tuple[int, int, int]], topic: str, report: Report
) -> None:
    """Documents under the alias that are of no partition of the topic, and those the log no longer reaches."""
    old = [
        {"bool": {"filter": [{"term": {"@partition": p}}, {"range": {"@offset": {"lt": start}}}]}}
        for p, (start, _, _) in spans.items()
    ]
    ours = {"bool": {"filter": [{"term": {"@topic": topic}}, {"terms": {"@partition": sorted(spans)}}]}}
    with engine.asked(f"counts of {shape.alias}"):
        count = engine.client.count
        older = count(index=shape.alias, query={"bool": {"should": old}}, ignore_unavailable=True)["count"]
        strange = count(index=shape.alias, query={"bool": {"must_not": [ours]}}, ignore_unavailable=True)["count"]
    report.note(f"documents of {shape.alias} are older than what the log holds", older)
    if strange:
        what = f"{strange} documents under {shape.alias} are of no partition of this topic"
        report.broken(RULE, shape.topic.name, (topic, -1), [-1], what)


def _refused(topics: PipelineTopics) -> dict[tuple[str, int], frozenset[int]]:
    """Coordinates of the records that forward wrote dead letters of."""
    found: dict[tuple[str, int], set[int]] = {}
    bounds = topics.log.bounds(topics.topic("dead"))
    for chunk in read_range(topics.log, {topics.tp("dead", p): b for p, b in bounds.items()}):
        letters = topics.codec("dead").decode(chunk.values).frame(names=["stage", "topic", "partition", "offset"])
        for _, topic, partition, offset in letters.filter(pl.col("stage") == GROUP).rows():
            found.setdefault((topic, partition), set()).add(offset)
    return {place: frozenset(offsets) for place, offsets in found.items()}


def _offset(id_: str) -> int:
    last = id_.rpartition("-")[2]
    return int(last) if last.isdecimal() else -1
