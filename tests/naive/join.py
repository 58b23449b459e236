"""features + labels -> examples, and predictions + labels -> outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from headrace.codec.topic import Decoded
from headrace.kafka.log import Chunk, Output, TopicPartition
from headrace.models.inputs import wrong_labels
from headrace.streams.ahead import WORKER_CLOCKS, Places, ahead, early
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.processor import Stateless, Step
from tests.naive.pairing import HeldLabel, Pairs

Row = tuple[Any, ...]
Pair = tuple[Row, int, HeldLabel]
"""A left row, its offset, and the label it goes with."""


@dataclass
class JoinState:
    """What one partition holds: features and predictions, each with the labels they may still meet."""

    examples: Pairs[Row]
    outcomes: Pairs[Row]


class Join(Stateless):
    """Pairs by id, exactly when the later half passes. See :mod:`headrace.streams.join.pairing` for the rule.

    A label that repeats an earlier one, that is none of the target's, or that no features record claims in time,
    becomes a dead letter; so does whatever has a time ahead of the log's, before it can move the newest time.
    """

    name = "join"
    atomic = False
    timed = True

    def __init__(self, topics: PipelineTopics) -> None:
        self._topics = topics
        self.inputs = tuple(topics.topic(t) for t in ("features", "labels", "predictions"))
        self._horizon = int(topics.pipeline.label_horizon.total_seconds() * 1_000_000)
        self._target = topics.pipeline.target
        self._ahead = topics.pipeline.clock_ahead + WORKER_CLOCKS
        self._state: dict[int, JoinState] = {}

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._state = {tp.partition: JoinState(Pairs(self._horizon), Pairs(self._horizon)) for tp in tps}
        if tps:
            self._topics.prepare("examples", "outcomes", "dead")

    def process(self, batch: Chunk) -> Step:
        topic = self._topics.short(batch.tp.topic)
        state = self._state[batch.tp.partition]
        decoded = self._topics.codec(topic).decode(batch.values)
        outputs = self._topics.dead_letters(self.name, batch, decoded)
        frame, places, letters = self._sound(topic, batch, decoded)
        outputs += self._topics.dead(self.name, batch, letters)
        if topic == "labels":
            outputs += self._labels(batch, frame, places, state)
        elif topic == "features":
            outputs += self._write_examples(batch.tp.partition, self._lefts(batch, frame, places, state.examples))
        else:
            outputs += self._write_outcomes(batch.tp.partition, self._lefts(batch, frame, places, state.outcomes))
        state.outcomes.let_go()
        outputs += self._orphans(batch.tp.partition, state.examples.let_go())
        return Step(outputs)

    def rebuild_from(self, tp: TopicPartition, position: int) -> int:
        state = self._state.get(tp.partition)
        if state is None:
            return position
        match self._topics.short(tp.topic):
            case "features":
                return state.examples.earliest_left(position)
            case "predictions":
                return state.outcomes.earliest_left(position)
        return min(state.examples.earliest_label(position), state.outcomes.earliest_label(position))

    def _sound(
        self, topic: str, batch: Chunk, decoded: Decoded
    ) -> tuple[pl.DataFrame, Places, list[tuple[int, str, str]]]:
        """The rows that may be paired, with their places in the batch, and letters for the others."""
        frame, places = decoded.frame(), decoded.places()
        time, what = ("label_time", "label time") if topic == "labels" else ("event_time", "event time")
        odd = ahead(batch, places, frame[time], self._ahead)
        letters = early(places[odd], what, self._ahead)
        if topic == "labels":
            for misfit in wrong_labels(self._target, frame):
                if not odd[misfit.row]:
                    odd[misfit.row] = True
                    letters.append((int(places[misfit.row]), misfit.code, misfit.said))
        if not letters:
            return frame, places, []
        return frame.filter(~pl.Series(odd)), places[~odd], sorted(letters)

    def _lefts(self, batch: Chunk, frame: pl.DataFrame, places: Places, pairs: Pairs[Row]) -> list[Pair]:
        ids = frame["id"].to_list()
        times = frame["event_time"].to_physical().to_list()
        offsets = batch.offsets[places].tolist()
        found = []
        for id_, time, offset, row in zip(ids, times, offsets, frame.rows(), strict=True):
            label = pairs.add_left(id_, time, offset, row)
            if label is not None:
                found.append((row, offset, label))
        return found

    def _labels(self, batch: Chunk, frame: pl.DataFrame, places: Places, state: JoinState) -> list[Output]:
        examples: list[Pair] = []
        outcomes: list[Pair] = []
        duplicates = []
        columns = (frame["id"], frame["label_time"].to_physical(), frame["label"])
        for place, id_, time, value in zip(places.tolist(), *columns, strict=True):
            offset = int(batch.offsets[place])
            source = (batch.keys[place], batch.values[place])
            found = state.examples.add_label(id_, time, offset, value, source)
            if found is None:
                duplicates.append((place, "duplicate_label", f"an earlier label of {id_} counts"))
            else:
                label = HeldLabel(id_, time, time, offset, value, source)
                examples += [(left.row, left.offset, label) for left in found]
            scored = state.outcomes.add_label(id_, time, offset, value, source) or []
            outcomes += [(left.row, left.offset, HeldLabel(id_, time, time, offset, value, source)) for left in scored]
        partition = batch.tp.partition
        return [
            *self._write_examples(partition, examples),
            *self._write_outcomes(partition, outcomes),
            *self._topics.dead(self.name, batch, duplicates),
        ]

    def _write_examples(self, partition: int, pairs: list[Pair]) -> list[Output]:
        if not pairs:
            return []
        frame = self._paired("features", pairs).rename({"left_offset": "feature_offset"})
        return [self._topics.rows("examples", partition, frame, [k.encode() for k in frame["key"]])]

    def _write_outcomes(self, partition: int, pairs: list[Pair]) -> list[Output]:
        if not pairs:
            return []
        frame = self._paired("predictions", pairs)
        frame = frame.rename({"offset": "feature_offset", "left_offset": "prediction_offset"})
        return [self._topics.rows("outcomes", partition, frame, [k.encode() for k in frame["key"]])]

    def _paired(self, topic: str, pairs: list[Pair]) -> pl.DataFrame:
        schema = self._topics.columns(topic)
        return pl.DataFrame([row for row, _, _ in pairs], schema=schema, orient="row").with_columns(
            pl.Series("label", [label.value for _, _, label in pairs], dtype=pl.Float64),
            pl.Series("label_time", [label.time for _, _, label in pairs], dtype=pl.Int64).cast(
                pl.Datetime("us", "UTC")
            ),
            pl.Series("left_offset", [offset for _, offset, _ in pairs], dtype=pl.Int64),
            pl.Series("label_offset", [label.offset for _, _, label in pairs], dtype=pl.Int64),
        )

    def _orphans(self, partition: int, labels: list[HeldLabel]) -> list[Output]:
        if not labels:
            return []
        chunk = Chunk.of(
            self._topics.tp("labels", partition),
            [label.offset for label in labels],
            [label.source[0] for label in labels],
            [label.source[1] for label in labels],
        )
        reason = "no features record of this id came within the label horizon"
        return self._topics.dead(self.name, chunk, [(i, "orphan_label", reason) for i in range(len(labels))])
