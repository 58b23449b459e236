"""features, predictions, outcomes -> metrics, triggers. Run one worker of it a pipeline: its windows span all
partitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import polars as pl

from headrace.codec.topic import Decoded
from headrace.errors import TransactionAborted, Unavailable
from headrace.governance.catalog import Governance, published
from headrace.kafka.log import Chunk, Output, TopicPartition
from headrace.schema.records import FeatureBaseline, OffsetRange, TrainingTrigger
from headrace.streams.ahead import WORKER_CLOCKS, ahead, early
from headrace.streams.monitor.clocks import Clock, Clocks
from headrace.streams.monitor.error import ErrorWatch
from headrace.streams.monitor.event_time import NEVER, EventTime
from headrace.streams.monitor.feature_windows import FeatureWindows
from headrace.streams.monitor.groups import Grouped, Groups
from headrace.streams.monitor.ledger import Ledger
from headrace.streams.monitor.partitions import with_rows
from headrace.streams.monitor.score_windows import ScoreWindows, Stream, Window
from headrace.streams.monitor.tally import Codes, Integers, Numbers
from headrace.streams.monitor.triggers import Triggers
from headrace.streams.monitor.versions import Key
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.scored_features import ready
from headrace.worker.processor import IDLE, Stateless, Step

MARKER = 1
SCORED = ("event_time", "model_id", "route", "outputs")
FEATURES_OFFSET = {"predictions": "offset", "outcomes": "feature_offset"}
"""Field that says which features record was scored."""


class Monitor(Stateless):
    """Measures what was scored and how it turned out, by windows of event time, and asks for a retraining.

    Which model a features row is held against follows from the markers, as scoring does. What is read is counted at
    once; what is due is written between batches, where a window is over. State is a function of the records alone,
    so that a rebuild, which goes topic by topic, gives what was; nothing is written and nothing triggered meanwhile.
    """

    name = "monitor"
    atomic = False
    timed = True

    def __init__(self, topics: PipelineTopics) -> None:
        self._topics = topics
        self._pipeline = topics.pipeline
        self.inputs = tuple(topics.topic(t) for t in ("features", "predictions", "outcomes", "triggers"))
        self._reset(())

    def _reset(self, tps: Sequence[TopicPartition]) -> None:
        self._assigned = frozenset(tps)
        self._live = False
        """Whether the state is rebuilt and records are read for the first time."""
        self._state = Governance()
        self._ranks: dict[str, int] = {}
        self._ahead = self._pipeline.clock_ahead + WORKER_CLOCKS
        self._baselines: dict[str, list[FeatureBaseline]] = {}
        self._time = EventTime()
        self._clocks = Clocks(self._pipeline)
        self._ledger = Ledger(self._topics, self._clocks)
        self._features = FeatureWindows(self._clocks.span)
        self._scores = ScoreWindows()
        self._groups = Groups(self._pipeline.groups)
        self._grouped = {tp.partition: Grouped(len(self._pipeline.groups)) for tp in tps}
        self._errors = {tp.partition: ErrorWatch(self._pipeline.drift) for tp in tps}
        self._labelled: set[int] = set()
        self._triggers = Triggers(self._pipeline, self._examples)

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._reset(tps)
        if not tps:
            return
        self._topics.prepare("metrics", "triggers", "dead")
        for name in ("features", "predictions", "outcomes"):
            for partition in with_rows(self._topics, name):
                if self._topics.tp(name, partition) in self._assigned:
                    self._time.expect(name, partition)
        self._learn_decisions()
        for _, record in self._topics.read_control("triggers", settled=True):
            self._triggers.note(record)
        self._ledger.recall()
        self._scores.finish(self._clocks.final_scores)
        self._features.finish(self._clocks.final_features)
        if (over := self._clocks.over["features"]) != NEVER:
            self._features.closed(over * self._clocks.span)

    def process(self, batch: Chunk) -> Step:
        topic = self._topics.short(batch.tp.topic)
        if topic == "triggers":
            for _, record in self._topics.control_records(batch):
                self._triggers.note(record)
            return IDLE
        decoded = self._topics.codec(topic).decode(batch.values)
        if topic == "features":
            return self._take_features(batch, decoded)
        done = self._ready(topic, batch, decoded)
        if done == 0:
            return Step(consumed=0, why="the features records of these have not been read yet")
        if done < len(batch):
            batch = batch.slice(0, done)
            decoded = self._topics.codec(topic).decode(batch.values)
        letters = self._topics.dead_letters(self.name, batch, decoded)
        names = [*SCORED, "offset"] if topic == "predictions" else [*SCORED, "feature_offset", "label", "label_time"]
        rows, places, odd = self._plausible(batch, decoded, names)
        taken = self._take_predictions if topic == "predictions" else self._take_outcomes
        return Step([*letters, *odd, *taken(batch, rows, places)], consumed=done)

    def tick(self) -> Step:
        if not self._assigned:
            return IDLE
        self._live = True
        with _undone_if_away():
            self._write_features()
            self._write_scores()
        outputs = self._ledger.outputs()
        return Step(outputs) if outputs else IDLE

    def rebuild_from(self, tp: TopicPartition, position: int) -> int:
        topic, p = self._topics.short(tp.topic), tp.partition
        if topic == "triggers" or p not in self._grouped:
            return position
        earliest = self._time.earliest(topic, p, position)
        if topic == "features":
            grouped = self._grouped[p].earliest(position) if self._pipeline.groups else position
            return min(earliest, grouped, self._features.earliest(p, position))
        if topic == "predictions":
            return min(earliest, self._scores.earliest("predictions", p, position))
        began = self._errors[p].began
        return min(earliest, self._scores.earliest("outcomes", p, position), position if began is None else began)

    # Features.

    def _take_features(self, batch: Chunk, decoded: Decoded) -> Step:
        partition = batch.tp.partition
        if self._state.timeline.at(partition, 0) is None or len(decoded.places(MARKER)):
            self._learn_decisions()
        cuts = [0, *(int(p) for p in decoded.places(MARKER) if p > 0), len(batch)]
        names = dict.fromkeys(("event_time", *self._pipeline.groups, *self._pipeline.inputs))
        rows, places, odd = self._plausible(batch, decoded, list(names))
        with _undone_if_away():
            self._note_groups(batch, rows, places)
            for start, stop in pairwise(cuts):
                first, last = np.searchsorted(places, [start, stop])
                self._count_features(batch, rows.slice(int(first), int(last - first)), places[first:last])
            self._expect_predictions(partition)
            found = self._judge_features()
        return Step([*odd, *found, *self._ledger.outputs()])

    def _note_groups(self, batch: Chunk, rows: pl.DataFrame, places: Integers) -> None:
        grouped = self._grouped[batch.tp.partition]
        grouped.reached = batch.next_offset
        if self._pipeline.groups and rows.height:
            windows = _times(rows["event_time"]) // self._clocks.span
            needed = windows >= self._clocks.final_scores
            codes = self._groups.numbers(rows)
            grouped.take(batch.offsets[places[needed]], windows[needed], codes[needed])

    def _count_features(self, batch: Chunk, rows: pl.DataFrame, places: Integers) -> None:
        if rows.is_empty():
            return
        partition, offsets = batch.tp.partition, batch.offsets[places]
        self._time.advance("features", partition, _times(rows["event_time"]), offsets)
        marked = self._state.timeline.at(partition, int(offsets[0]))
        if marked is None or self._state.timeline.before_first(partition, int(offsets[0])):
            return
        self._time.expect("predictions", partition)
        model_id = marked.policy.champion
        late = self._features.add(model_id, self._baseline(model_id), partition, rows, offsets)
        if self._live:
            for window, count in late.items():
                self._ledger.late(Key(window.model_id, "", "", window.number), count)

    def _expect_predictions(self, partition: int) -> None:
        """Features from before the first marker are scored too, if its policy says so."""
        first = self._state.timeline.at(partition, 0)
        if first and first.policy.backlog == "SCORE" and self._time.of("features", partition) is not None:
            self._time.expect("predictions", partition)

    def _judge_features(self) -> list[Output]:
        """Triggers where a window that every partition has passed has drifted, or the schedule says so."""
        time = self._time.passed("features")
        closed = self._features.closed(time)
        if not self._live:
            return []
        found: list[TrainingTrigger] = []
        for c in closed:
            found += self._triggers.features_moved(c, (c.window.number + 1) * self._clocks.span, self._ruling())
        return self._ask([*found, *self._triggers.scheduled(time)])

    def _write_features(self) -> None:
        if not self._clocks.advance("features", self._time.passed("features")):
            return
        self._write_clock("features", "features")
        for window, found in self._features.figures(self._clocks.over["features"]).items():
            self._ledger.window(Key(window.model_id, "", "", window.number), found)
        self._features.finish(self._clocks.final_features)
        self._ledger.finish()

    # Predictions and outcomes.

    def _ready(self, topic: str, batch: Chunk, decoded: Decoded) -> int:
        """How many records from the start of a batch have no features still to come."""
        if not self._pipeline.groups or not len(decoded.places()):
            return len(batch)
        reached = self._grouped[batch.tp.partition].reached
        return ready(self._topics, batch, decoded, FEATURES_OFFSET[topic], reached)

    def _take_predictions(self, batch: Chunk, rows: pl.DataFrame, places: Integers) -> list[Output]:
        if rows.is_empty():
            return []
        partition, offsets = batch.tp.partition, batch.offsets[places]
        times, scores, groups = _times(rows["event_time"]), _scores(rows), self._groups_of(rows["offset"], partition)
        windows = times // self._clocks.span
        late: Counter[Window] = Counter()
        for stream, of in _streams(rows):
            late += self._scores.add_predictions(stream, windows[of], scores[of], groups[of])
        self._scores.note("predictions", partition, windows, offsets)
        self._time.advance("predictions", partition, times, offsets)
        return self._late(late)

    def _take_outcomes(self, batch: Chunk, rows: pl.DataFrame, places: Integers) -> list[Output]:
        if rows.is_empty():
            return []
        ranks = self._ranks_of(rows)
        partition, offsets = batch.tp.partition, batch.offsets[places]
        times, scores, labels = _times(rows["event_time"]), _scores(rows), rows["label"].to_numpy()
        groups = self._groups_of(rows["feature_offset"], partition)
        windows = times // self._clocks.span
        late: Counter[Window] = Counter()
        for stream, of in _streams(rows):
            late += self._scores.add_outcomes(stream, windows[of], scores[of], labels[of], groups[of])
        self._scores.note("outcomes", partition, windows, offsets)
        # A label has come by its own time, however old what it is of.
        self._time.advance("outcomes", partition, _times(rows["label_time"]), offsets)
        errors = np.abs(labels - scores)
        sound = (rows["route"].cast(pl.String) == "champion") & self._pipeline.target.takes(rows["label"])
        judged = np.flatnonzero(sound.to_numpy() & np.isfinite(errors))
        found = self._errors[partition].update(ranks[judged], offsets[judged], times[judged], errors[judged])
        if not self._live:
            return []
        models = rows["model_id"]
        with _undone_if_away():
            asked = [
                t
                for rise in found
                for t in self._triggers.error_rose(models[int(judged[rise.place])], partition, rise.time)
            ]
            return [*self._late(late), *self._ask(asked)]

    def _write_scores(self) -> None:
        over = self._clocks.advance("predictions", self._time.passed("predictions"))
        if over:
            self._write_clock("predictions", "predictions")
            self._look_for_labels()
        labels = self._clocks.advance("labels", self._labels_passed())
        if labels:
            self._write_clock("labels", "outcomes")
        if not over and not labels:
            return
        final = self._clocks.final_scores
        before = self._clocks.over["predictions"] if over else final
        for (stream, number), group, found in self._scores.figures(before, self._groups.names):
            self._ledger.window(Key(*stream, group, number), found)
        if final > self._scores.final:
            self._scores.finish(final)
            for grouped in self._grouped.values():
                grouped.drop_before(final)
            self._ledger.finish()

    def _look_for_labels(self) -> None:
        """Where labels have come, outcomes will, however far join is behind."""
        if self._time.partitions("predictions") - self._time.partitions("outcomes") - self._labelled:
            bounds = self._topics.log.bounds(self._topics.topic("labels"))
            self._labelled |= {p for p, (first, end) in bounds.items() if first < end}

    def _labels_passed(self) -> int:
        """Event time of the labels that every partition in which labels come has reached; where none come, that of
        the predictions."""
        waiting = (self._time.partitions("predictions") & self._labelled) - self._time.partitions("outcomes")
        if waiting:
            return NEVER
        return self._time.passed("outcomes" if self._time.partitions("outcomes") else "predictions")

    def _late(self, late: Counter[Window]) -> list[Output]:
        if self._live:
            for (stream, number), count in late.items():
                self._ledger.late(Key(*stream, "", number), count)
        return self._ledger.outputs()

    def _groups_of(self, features: pl.Series, partition: int) -> Codes:
        return self._grouped[partition].at(features.to_numpy())

    # What all share.

    def _plausible(
        self, batch: Chunk, decoded: Decoded, names: list[str]
    ) -> tuple[pl.DataFrame, Integers, list[Output]]:
        """Rows of these columns whose times are not ahead of the log's, their places, and letters for the others."""
        rows, places = decoded.frame(names=names), decoded.places()
        odd = ahead(batch, places, rows["event_time"], self._ahead)
        if "label_time" in names:
            odd |= ahead(batch, places, rows["label_time"], self._ahead)
        if not odd.any():
            return rows, places, []
        letters = self._topics.dead(self.name, batch, early(places[odd], "time", self._ahead))
        return rows.filter(~pl.Series(odd)), places[~odd], letters

    def _write_clock(self, clock: Clock, topic: str) -> None:
        self._ledger.clock(clock, self._ruling(), len(self._time.partitions(topic)))

    def _ask(self, triggers: list[TrainingTrigger]) -> list[Output]:
        return [self._topics.control("triggers", [t], [t.trigger_id]) for t in triggers]

    def _examples(self) -> list[OffsetRange]:
        bounds = self._topics.log.bounds(self._topics.topic("examples"))
        return [OffsetRange(partition=p, start=a, stop=b) for p, (a, b) in bounds.items()]

    def _learn_decisions(self) -> None:
        """Read decisions again, past any activation that is just being committed."""
        for offset, record in self._topics.read_control("decisions", settled=True):
            self._state.take(offset, record)
        self._ranks = {m: i for i, m in enumerate(self._state.champions())}

    def _ruling(self) -> str:
        return self._state.in_force.policy.champion if self._state.in_force else ""

    def _ranks_of(self, rows: pl.DataFrame) -> Integers:
        """The place of each row's model in the order of activation; -1: it was never activated."""
        models = rows["model_id"].unique().to_list()
        if not self._ranks.keys() >= set(models):
            self._learn_decisions()
        ranks = [self._ranks.get(m, -1) for m in models]
        return rows["model_id"].replace_strict(models, ranks, return_dtype=pl.Int64).to_numpy()

    def _baseline(self, model_id: str) -> list[FeatureBaseline]:
        if model_id not in self._baselines:
            self._baselines.update({m: p.manifest.baseline for m, p in published(self._topics).items()})
        return self._baselines[model_id]


@contextmanager
def _undone_if_away() -> Iterator[None]:
    """A server went away in the middle of a step: the loop must not bring the batch again to a state that has half
    taken it, but begin at the last commit."""
    try:
        yield
    except Unavailable as e:
        raise TransactionAborted(str(e)) from e


def _streams(rows: pl.DataFrame) -> Iterator[tuple[Stream, Integers | slice]]:
    """The models and routes among the rows, and where."""
    keys = rows.select("model_id", pl.col("route").cast(pl.String)).with_row_index("place")
    parts = keys.partition_by("model_id", "route", as_dict=True, include_key=False)
    for key, part in parts.items():
        yield Stream(*key), slice(None) if len(parts) == 1 else part["place"].to_numpy().astype(np.int64)


def _times(column: pl.Series) -> Integers:
    return column.to_physical().to_numpy()


def _scores(rows: pl.DataFrame) -> Numbers:
    """The first output of each row; NaN where there is none."""
    return rows["outputs"].list.first().cast(pl.Float64).fill_null(float("nan")).to_numpy()
