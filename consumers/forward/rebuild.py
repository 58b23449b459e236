"""``headrace search rebuild``: new indices filled from the log, which replace the old ones atomically."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from elasticsearch import ApiError

from headrace.consumers.forward.bulk import SearchRoute
from headrace.consumers.forward.documents import Documenter
from headrace.consumers.forward.engine import Engine
from headrace.consumers.forward.route import Documents, Refused
from headrace.consumers.forward.scored import Scored, scored_of
from headrace.consumers.forward.setup import put_template
from headrace.consumers.forward.shape import Shape
from headrace.consumers.forward.templates import index
from headrace.errors import HeadraceError
from headrace.kafka.log import Chunk, TopicPartition, read_range
from headrace.progress import SILENT, Progress
from headrace.topics.pipeline_topics import PipelineTopics

BATCH = 5_000
SWAPS = 5
"""How often the names are tried to be taken over, while forward makes indices of new periods."""

Spans = dict[TopicPartition, tuple[int, int]]


@dataclass
class Rebuilt:
    """What came of a topic.

    Attributes:
        topic: its name within the pipeline.
        documents: how many were written.
        refused: what the engine said of the others.
        indices: those that hold them now.
        dropped: those that are gone.
    """

    topic: str
    documents: int = 0
    refused: list[str] = field(default_factory=list)
    indices: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def rebuild(
    topics: PipelineTopics, shape: Shape, engine: Engine, *, force: bool = False, progress: Progress = SILENT
) -> Rebuilt:
    """Make the indices of a topic from the log; forward may run all the while.

    New indices are filled up to what forward has passed, take the names of the old ones in one step, which drops those,
    and are then given once more what was passed on meanwhile: their ids make that harmless.

    Args:
        topics: the pipeline's topics.
        shape: of the documents.
        engine: where they are.
        force: whether documents may go that the log holds no records of.
        progress: told how far it has come.

    Raises:
        HeadraceError: documents would go that the log cannot give back.
        Unavailable: Kafka, the registry or the engine is away; the old indices are as they were.
    """
    found, topic = Rebuilt(shape.topic.name), topics.topic(shape.topic.name)
    stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime())
    put_template(engine, shape)
    if not force:
        _refuse_to_lose(topics, shape, engine)
    committed = topics.log.committed(f"{topics.pipeline.name}.forward")
    bounds = {TopicPartition(topic, p): b for p, b in topics.log.bounds(topic).items()}
    passed = {tp: (first, min(end, committed.get(tp, end))) for tp, (first, end) in bounds.items()}
    progress.begins(f"making {shape.alias} anew", sum(max(0, stop - start) for start, stop in passed.values()))
    route = SearchRoute(engine, [])
    for documents, records in documents_of(topics, shape, passed):
        new = [target.replace(shape.alias, f"{shape.alias}-{stamp}", 1) for target in documents.targets]
        for name in set(new) - set(found.indices):
            body = index(shape.alias, shape.fields, shape.lifecycle(engine.lifecycle))
            with engine.asked(f"index {name}"):
                engine.client.indices.create(index=name, mappings=body["mappings"], settings=body["settings"])
            found.indices.append(name)
        refused = route.send(replace(documents, targets=new))
        found.documents += len(documents) - len(refused)
        found.refused += _said(documents, refused)
        progress.advanced(records)
    found.dropped = _swap(engine, shape, found.indices)
    ends = topics.log.high_watermarks(topic)
    meanwhile = {tp: (stop, ends[tp.partition]) for tp, (_, stop) in passed.items()}
    for documents, _ in documents_of(topics, shape, meanwhile):
        route.send(documents)
    return found


def documents_of(topics: PipelineTopics, shape: Shape, spans: Spans) -> Iterator[tuple[Documents, int]]:
    """The documents of the records in these spans, and of how many records they are."""
    maker = Documenter(topics.pipeline, shape)
    for chunk in read_range(topics.log, spans, BATCH):
        decoded = topics.codec(shape.topic.name).decode(chunk.values)
        features = None
        if shape.topic.name == "predictions" and len(decoded.places()):
            offsets = decoded.integers("offset")
            features = _scored(topics, chunk, int(offsets.min()), int(offsets.max()) + 1).at
        documents = maker.documents(chunk, decoded, features)
        if len(documents):
            yield documents, len(chunk)


def _scored(topics: PipelineTopics, predictions: Chunk, start: int, stop: int) -> Scored:
    """The features from ``start`` to before ``stop`` of the partition that these predictions are in."""
    held = scored_of(topics)
    for chunk in read_range(topics.log, {topics.tp("features", predictions.tp.partition): (start, stop)}):
        decoded = topics.codec("features").decode(chunk.values)
        rows = decoded.frame(names=list(topics.pipeline.feature_columns))
        held.take(chunk.offsets[decoded.places()], rows, int(chunk.offsets[-1]))
    return held


def _swap(engine: Engine, shape: Shape, new: list[str]) -> list[str]:
    """Give the names of the old indices to the new ones, which drops the old ones; gives the old ones."""
    for left in reversed(range(SWAPS)):
        with engine.asked(f"the names of {shape.alias}"):
            there = engine.client.indices.get_alias(index=[shape.patterns, shape.alias], ignore_unavailable=True)
            old = sorted(set(there) - set(new))
            actions: list[dict[str, Any]] = [{"remove_index": {"index": name}} for name in old]
            for name in new:
                period = name.rpartition(".")[2]
                actions += [{"add": {"index": name, "alias": a}} for a in (shape.alias, f"{shape.alias}.{period}")]
            if not actions:
                return []
            try:
                engine.client.indices.update_aliases(actions=actions)
            except ApiError as e:
                # forward has made an index of a name that was free when we asked
                if e.status_code >= 500 or not left:
                    raise
                continue
            return old
    raise AssertionError("unreachable")


def _refuse_to_lose(topics: PipelineTopics, shape: Shape, engine: Engine) -> None:
    """Raises:
    HeadraceError: documents are there of which the log holds no record.
    """
    topic = topics.topic(shape.topic.name)
    kept = [
        {"bool": {"filter": [{"term": {"@partition": p}}, {"range": {"@offset": {"gte": first}}}]}}
        for p, (first, _) in topics.log.bounds(topic).items()
    ]
    query = {"bool": {"must_not": [{"bool": {"filter": [{"term": {"@topic": topic}}], "should": kept}}]}}
    query["bool"]["must_not"][0]["bool"]["minimum_should_match"] = 1
    with engine.asked(f"a count of {shape.alias}"):
        client = engine.client
        client.indices.refresh(index=[shape.patterns, shape.alias], ignore_unavailable=True)
        count = client.count(index=[shape.patterns, shape.alias], query=query, ignore_unavailable=True)["count"]
    if count:
        raise HeadraceError(
            f"{count:,} documents under {shape.alias} are of records that {topic} no longer holds, and could not be "
            "made again: nothing was changed; --force lets them go"
        )


def _said(documents: Documents, refused: list[Refused]) -> list[str]:
    return [f"{documents.ids[r.place]}: {r.reason}" for r in refused]
