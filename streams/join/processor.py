"""features + labels -> examples, and predictions + labels -> outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from headrace.codec.column import BytesColumn
from headrace.codec.topic import Decoded
from headrace.kafka.log import Chunk, Output, TopicPartition
from headrace.models.inputs import wrong_labels
from headrace.state.budget import Budget
from headrace.state.records import Arrived, Located, Times
from headrace.streams.ahead import WORKER_CLOCKS, Places, ahead, early
from headrace.streams.join.pairing import EXAMPLES, OUTCOMES, Pairs
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.processor import Figure, Stateless, Step

LEFTS = {"features": EXAMPLES, "predictions": OUTCOMES}


class Sound(NamedTuple):
    """The records of a batch that may be paired, and their places in it, (n,)."""

    arrived: Arrived
    places: Places


class Labels(NamedTuple):
    """A label for each of p pairs."""

    values: pl.Series
    times: Times
    offsets: Times


class Join(Stateless):
    """Pairs by id, exactly when the later half passes. See :mod:`headrace.streams.join.pairing` for the rule.

    A label that repeats an earlier one, that is none of the target's, or that no features record claims in time,
    becomes a dead letter; so does whatever has a time ahead of the log's, before it can move the newest time.

    Args:
        topics: the pipeline's topics.
        budget: where what it holds goes; None: all of it stays in memory.
    """

    name = "join"
    atomic = False
    timed = True

    def __init__(self, topics: PipelineTopics, budget: Budget | None = None) -> None:
        self._topics = topics
        self._budget = budget or Budget()
        self.inputs = tuple(topics.topic(t) for t in ("features", "labels", "predictions"))
        self._horizon = int(topics.pipeline.label_horizon.total_seconds() * 1_000_000)
        self._target = topics.pipeline.target
        self._ahead = topics.pipeline.clock_ahead + WORKER_CLOCKS
        self._state: dict[int, Pairs] = {}

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._state = {tp.partition: Pairs(self._horizon) for tp in tps}
        self._budget.replace([store for pairs in self._state.values() for store in pairs.stores])
        if tps:
            self._topics.prepare("examples", "outcomes", "dead")

    def process(self, batch: Chunk) -> Step:
        topic = self._topics.short(batch.tp.topic)
        pairs = self._state[batch.tp.partition]
        decoded = self._topics.codec(topic).decode(batch.values)
        outputs = self._topics.dead_letters(self.name, batch, decoded)
        sound, letters = self._sound(topic, batch, decoded)
        outputs += self._topics.dead(self.name, batch, letters)
        if topic == "labels":
            outputs += self._labels(batch, decoded, sound, pairs)
        else:
            outputs += self._lefts(topic, batch.tp.partition, sound.arrived, pairs)
        outputs += self._orphans(batch.tp.partition, pairs.let_go())
        self._budget.settle()
        return Step(outputs)

    def rebuild_from(self, tp: TopicPartition, position: int) -> int:
        pairs = self._state.get(tp.partition)
        if pairs is None:
            return position
        topic = self._topics.short(tp.topic)
        if topic == "labels":
            return pairs.earliest_label(position)
        return pairs.earliest_left(LEFTS[topic], position)

    def figures(self) -> list[Figure]:
        doc = "Bytes of records held for a partner, in memory with their index, or on disk."
        held = {"memory": self._budget.held, "disk": self._budget.on_disk}
        return [Figure("state_bytes", doc, {"where": where}, float(size)) for where, size in held.items()]

    def close(self) -> None:
        self._budget.close()

    def _sound(self, topic: str, batch: Chunk, decoded: Decoded) -> tuple[Sound, list[tuple[int, str, str]]]:
        """The records that may be paired, and letters for the others."""
        places = decoded.places()
        name, what = ("label_time", "label time") if topic == "labels" else ("event_time", "event time")
        frame = decoded.frame(names=[name, "label"] if topic == "labels" else [name])
        odd = ahead(batch, places, frame[name], self._ahead)
        letters = early(places[odd], what, self._ahead)
        if topic == "labels":
            for misfit in wrong_labels(self._target, frame):
                if not odd[misfit.row]:
                    odd[misfit.row] = True
                    letters.append((int(places[misfit.row]), misfit.code, misfit.said))
        ids = decoded.strings("id") if len(places) else BytesColumn.nulls(0)
        times = frame[name].to_physical().to_numpy()
        if letters:
            kept = np.flatnonzero(~odd)
            ids, times, places = ids[kept], times[kept], places[kept]
        values = batch.values if len(places) == len(batch) else batch.values[places]
        keys = batch.keys[places] if topic == "labels" else None
        arrived = Arrived(ids, times, times, batch.offsets[places], values, keys)
        return Sound(arrived, places), sorted(letters)

    def _lefts(self, topic: str, partition: int, arrived: Arrived, pairs: Pairs) -> list[Output]:
        """Left records, those written at once whose labels have come before them."""
        found = pairs.add_lefts(LEFTS[topic], arrived)
        if not len(found.places):
            return []
        labels = self._topics.codec("labels").decode(found.labels.values()).frame(names=["label"])
        goes_with = Labels(labels["label"], found.labels.times, found.labels.offsets)
        values, offsets = arrived.values[found.places], arrived.offsets[found.places]
        return [self._written(LEFTS[topic], partition, values, offsets, goes_with)]

    def _labels(self, batch: Chunk, decoded: Decoded, sound: Sound, pairs: Pairs) -> list[Output]:
        """Labels: what they pair with, and letters for those that repeat an earlier one."""
        arrived, places = sound
        repeats, late = pairs.add_labels(arrived)
        outputs = []
        for kind, (of, lefts) in zip((EXAMPLES, OUTCOMES), late, strict=True):
            if len(of):
                values = decoded.frame(names=["label"])["label"]
                rows = np.searchsorted(decoded.places(), places[of])
                goes_with = Labels(values[rows], arrived.times[of], arrived.offsets[of])
                outputs.append(self._written(kind, batch.tp.partition, lefts.values(), lefts.offsets, goes_with))
        letters = []
        for row in np.flatnonzero(repeats).tolist():
            said = f"an earlier label of {(arrived.ids[row] or b'').decode()} counts"
            letters.append((int(places[row]), "duplicate_label", said))
        return [*outputs, *self._topics.dead(self.name, batch, letters)]

    def _written(self, kind: int, partition: int, lefts: BytesColumn, offsets: Times, labels: Labels) -> Output:
        """Examples or outcomes: each left record with its label."""
        source, sink = (("features", "examples"), ("predictions", "outcomes"))[kind]
        decoded = self._topics.codec(source).decode(lefts)
        frame = decoded.frame().with_columns(
            pl.Series("label", labels.values, dtype=pl.Float64),
            pl.Series("label_time", labels.times, dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
            pl.Series("left_offset", offsets, dtype=pl.Int64),
            pl.Series("label_offset", labels.offsets, dtype=pl.Int64),
        )
        if kind == EXAMPLES:
            frame = frame.rename({"left_offset": "feature_offset"})
        else:
            frame = frame.rename({"offset": "feature_offset", "left_offset": "prediction_offset"})
        return self._topics.rows(sink, partition, frame, decoded.strings("key"))

    def _orphans(self, partition: int, labels: Located) -> list[Output]:
        if not len(labels.rows):
            return []
        tp = self._topics.tp("labels", partition)
        chunk = Chunk(tp, labels.offsets, labels.keys(), labels.values())
        reason = "no features record of this id came within the label horizon"
        return self._topics.dead(self.name, chunk, [(i, "orphan_label", reason) for i in range(len(chunk))])
