"""predictions, outcomes, metrics, decisions, dead letters -> a search engine. Writes dead letters alone.

Offsets move only when the receiver has answered for every document, and a document's id is where its record stands: a
crash sends some again, and they overwrite themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from headrace.codec.column import BytesColumn
from headrace.codec.topic import Decoded
from headrace.consumers.forward.documents import Documenter
from headrace.consumers.forward.route import Refused, Route
from headrace.consumers.forward.scored import Scored, scored_of
from headrace.consumers.forward.shape import Shape
from headrace.kafka.log import Chunk, Output, TopicPartition
from headrace.schema.records import DeadLetter
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.scored_features import ready
from headrace.worker.processor import Figure, Stateless, Step

log = logging.getLogger("headrace.forward")

MOST_BYTES = 8_000_000
"""Bytes of records sent on at a time: a receiver must be done with them before it is given up."""
REFUSED = "search_refused"
"""Code of the dead letter of a document that the engine does not take."""


class Forward(Stateless):
    """Sends each record on as a document; a prediction with the features it was made from.

    A prediction that is ahead of its features waits for them. A document that the receiver refuses becomes a dead
    letter with its reason.

    Args:
        topics: the pipeline's topics.
        shapes: topic -> what its documents look like.
        route: where they go.
    """

    name = "forward"
    batch = 5_000

    def __init__(self, topics: PipelineTopics, shapes: dict[str, Shape], route: Route) -> None:
        self._topics = topics
        self._route = route
        self._makers = {name: Documenter(topics.pipeline, shape) for name, shape in shapes.items()}
        names = (*(["features"] if "predictions" in shapes else []), *shapes)
        self.inputs = tuple(topics.topic(name) for name in names)
        self._scored: dict[int, Scored] = {}

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._scored = {tp.partition: scored_of(self._topics) for tp in tps}
        if tps:
            self._topics.prepare("dead")

    def process(self, batch: Chunk) -> Step:
        topic = self._topics.short(batch.tp.topic)
        batch = batch.slice(0, _fitting(batch.values))
        decoded = self._topics.codec(topic).decode(batch.values)
        if topic == "features":
            return Step(consumed=self._hold(batch, decoded))
        done = len(batch)
        if topic == "predictions":
            done = ready(self._topics, batch, decoded, "offset", self._scored[batch.tp.partition].reached)
        if done == 0:
            return Step(consumed=0, why="the features records of these have not been read yet")
        if done < len(batch):
            batch = batch.slice(0, done)
            decoded = self._topics.codec(topic).decode(batch.values)
        return Step(self._send(topic, batch, decoded), consumed=done)

    def rebuild_from(self, tp: TopicPartition, position: int) -> int:
        held = self._scored.get(tp.partition)
        if held is None or self._topics.short(tp.topic) != "features":
            return position
        return held.earliest(position)

    def figures(self) -> list[Figure]:
        doc = "Features held until their predictions have passed, by partition."
        return [
            Figure("features_held", doc, {"partition": str(p)}, float(held.count))
            for p, held in sorted(dict(self._scored).items())
        ]

    def close(self) -> None:
        self._route.close()

    def _hold(self, batch: Chunk, decoded: Decoded) -> int:
        """Hold as many features as there is room for; gives how many records are done with."""
        held, places = self._scored[batch.tp.partition], decoded.places()
        taken = min(held.room, len(places))
        done = len(batch) if taken == len(places) else int(places[taken])
        if done:
            columns = list(self._topics.pipeline.feature_columns)
            rows = decoded.frame(names=columns)[:taken]
            held.take(batch.offsets[places[:taken]], rows, int(batch.offsets[done - 1]))
        return done

    def _send(self, topic: str, batch: Chunk, decoded: Decoded) -> list[Output]:
        """Send the documents of a batch; gives the dead letters of those that are none, or are refused."""
        letters = self._topics.dead_letters(self.name, batch, decoded)
        sound = np.flatnonzero(decoded.kinds >= 0)
        if not len(sound):
            return letters
        held = self._scored[batch.tp.partition] if topic == "predictions" else None
        documents = self._makers[topic].documents(batch, decoded, held.at if held else None)
        refused = self._route.send(documents)
        if held is not None:
            held.passed(decoded.integers("offset"))
        return [*letters, *self._refused(topic, batch, [r._replace(place=int(sound[r.place])) for r in refused])]

    def _refused(self, topic: str, batch: Chunk, refused: list[Refused]) -> list[Output]:
        if topic == "dead":
            # A letter about a letter goes without its bytes, which may be why that one was refused; and if it is
            # refused too, no third one would fare better.
            third = [r for r in refused if self._is_about_a_letter(batch, r)]
            for r in third:
                log.error("%s %d stays out of the search engine: %s", batch.tp, batch.offsets[r.place], r.reason)
            refused = [r for r in refused if r not in third]
            batch = Chunk(batch.tp, batch.offsets, batch.keys, BytesColumn.nulls(len(batch)))
        return self._topics.dead(self.name, batch, [(r.place, REFUSED, r.reason) for r in refused])

    def _is_about_a_letter(self, batch: Chunk, refused: Refused) -> bool:
        letter = self._topics.codec("dead").decode_control(batch.values[refused.place])
        return isinstance(letter, DeadLetter) and (letter.code, letter.topic) == (REFUSED, batch.tp.topic)


def _fitting(values: BytesColumn) -> int:
    """How many of the values, from the first on, are sent at a time."""
    ends = values.offsets[1:] - values.offsets[0]
    return max(1, int(np.searchsorted(ends, MOST_BYTES, side="right")))
