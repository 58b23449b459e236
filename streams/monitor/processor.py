"""features, outcomes -> metrics, triggers. Run one worker of it a pipeline: its windows span all partitions."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

import numpy as np
import polars as pl

from headrace.log.base import Chunk, Output, TopicPartition
from headrace.log.pipeline_log import PipelineLog
from headrace.log.processor import IDLE, Stateless, Step
from headrace.models.catalog import Governance, published
from headrace.records import FeatureBaseline, Metric, OffsetRange, Record, TrainingTrigger
from streams.monitor.error import ErrorWatch, OutcomeWindows
from streams.monitor.psi import FeatureWindows, Window, psi

log = logging.getLogger("headrace.monitor")
NEVER = -(2**62)
MARKER = 1


class Monitor(Stateless):
    """Watches the inputs and the error of the model that rules, and asks for a retraining.

    Which model a row is held against follows from the markers, as scoring does. Triggers are spaced by
    event time: none within the pipeline's cool-down of the last one, whoever asked for that.
    """

    name = "monitor"
    atomic = False

    def __init__(self, topics: PipelineLog) -> None:
        self._topics = topics
        self._drift = topics.pipeline.drift
        self._span = _micros(self._drift.window)
        self.inputs = tuple(topics.topic(t) for t in ("features", "outcomes", "triggers"))
        self._reset()

    def _reset(self) -> None:
        self._state = Governance()
        self._ranks: dict[str, int] = {}
        self._baselines: dict[str, list[FeatureBaseline]] = {}
        self._features = FeatureWindows(self._span)
        self._outcomes = OutcomeWindows(self._span)
        self._errors: dict[int, ErrorWatch] = {}
        self._watermarks: dict[TopicPartition, int] = {}
        self._last_trigger: datetime | None = None

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._reset()
        if not tps:
            return
        self._topics.prepare("metrics", "triggers", "dead")
        for topic in self.inputs[:2]:
            filled = {p for p, (first, end) in self._topics.log.bounds(topic).items() if first < end}
            self._watermarks |= {tp: NEVER for tp in tps if tp.topic == topic and tp.partition in filled}
        self._learn_decisions()
        for _, record in self._topics.read_control("triggers", settled=True):
            self._note_trigger(record)

    def process(self, batch: Chunk) -> Step:
        topic = self._topics.short(batch.tp.topic)
        if topic == "triggers":
            for _, record in self._topics.control_records(batch):
                self._note_trigger(record)
            return IDLE
        decoded = self._topics.codec(topic).decode(batch.values)
        dead = self._topics.dead_letters(self.name, batch, decoded) if topic == "outcomes" else []
        if topic == "features":
            if any(self._state.timeline.at(batch.tp.partition, 0) is None or k == MARKER for k in decoded.kinds):
                self._learn_decisions()
            cuts = [0, *(int(p) for p in decoded.places(MARKER) if p > 0), len(batch)]
            frame, places = decoded.frame(), decoded.places()
            for start, stop in pairwise(cuts):
                first, last = np.searchsorted(places, [start, stop])
                self._count_features(batch, frame.slice(int(first), int(last - first)), places[first:last])
            return Step(self._closed_features())
        triggers = self._count_outcomes(batch, decoded.frame(), decoded.places())
        return Step([*dead, *self._closed_outcomes(), *triggers])

    def rebuild_from(self, tp: TopicPartition, position: int) -> int:
        topic = self._topics.short(tp.topic)
        if topic == "triggers":
            return position
        if topic == "features":
            return self._features.earliest(tp.partition, position)
        watch = self._errors.get(tp.partition)
        began = watch.began if watch is not None else position
        return min(began, self._outcomes.earliest(tp.partition, position))

    # Features.

    def _count_features(self, batch: Chunk, rows: pl.DataFrame, places: np.ndarray) -> None:
        if rows.is_empty():
            return
        self._advance(batch.tp, rows["event_time"])
        offsets = batch.offsets[places]
        marked = self._state.timeline.at(batch.tp.partition, int(offsets[0]))
        if marked is None or self._state.timeline.before_first(batch.tp.partition, int(offsets[0])):
            return
        model_id = marked.policy.champion
        self._features.add(model_id, self._baseline(model_id), batch.tp.partition, rows, offsets)

    def _closed_features(self) -> list[Output]:
        """Figures of the windows that every partition has passed, and a trigger where one has drifted."""
        time = self._passed("features")
        outputs: list[Output] = []
        for window, counts, rows, whole in self._features.close_before(time):
            figures = {b.feature: psi(b, counts[b.feature]) for b in self._baseline(window.model_id)}
            outputs += self._metrics(window, {f"psi.{name}": value for name, value in figures.items()}, rows)
            watched = {n: v for n, v in figures.items() if n not in self._drift.ignore}
            moved = sorted((n for n, v in watched.items() if v > self._drift.psi), key=lambda n: -watched[n])
            if moved and whole and window.model_id == self._ruling():
                said = ", ".join(f"{n} {watched[n]:.2f}" for n in moved[:3])
                outputs += self._trigger(
                    "drift", f"PSI over {self._drift.psi:g}: {said}", (window.number + 1) * self._span
                )
        every = self._topics.pipeline.training.every
        if every is not None and self._last_trigger is not None and time > NEVER:
            due = self._last_trigger + every
            if time >= _micros_of(due):
                outputs += self._trigger("schedule", f"{every.days} days since the last trigger", time)
        return outputs

    # Outcomes.

    def _count_outcomes(self, batch: Chunk, rows: pl.DataFrame, places: np.ndarray) -> list[Output]:
        if rows.is_empty():
            return []
        self._advance(batch.tp, rows["event_time"])
        partition = batch.tp.partition
        watch = self._errors.setdefault(partition, ErrorWatch(self._drift))
        outputs: list[Output] = []
        columns = zip(
            rows["model_id"],
            rows["route"],
            rows["event_time"].to_physical(),
            rows["label"],
            rows["outputs"].list.first(),
            batch.offsets[places].tolist(),
            strict=True,
        )
        for model_id, route, time, label, score, offset in columns:
            self._outcomes.add(model_id, time, partition, offset, label, score)
            if route != "champion":
                continue
            if watch.update(self._rank(model_id), offset, time, abs(label - score)):
                outputs += self._trigger(
                    "drift", f"error of {model_id[:12]} rose in partition {partition} (Page-Hinkley)", time
                )
        return outputs

    def _closed_outcomes(self) -> list[Output]:
        outputs: list[Output] = []
        for window, figures in self._outcomes.close_before(self._passed("outcomes") - self._span):
            count = int(figures.pop("count"))
            outputs += self._metrics(window, {n: v for n, v in figures.items() if np.isfinite(v)}, count)
        return outputs

    # What both share.

    def _advance(self, tp: TopicPartition, times: pl.Series) -> None:
        newest = times.to_physical().max()
        assert isinstance(newest, int)
        self._watermarks[tp] = max(self._watermarks.get(tp, NEVER), newest)

    def _passed(self, topic: str) -> int:
        """Event time that every partition that holds records has reached, microseconds."""
        name = self._topics.topic(topic)
        return min((w for tp, w in self._watermarks.items() if tp.topic == name), default=NEVER)

    def _trigger(self, reason: Literal["drift", "schedule"], detail: str, time: int) -> list[Output]:
        at = datetime.fromtimestamp(time / 1_000_000, UTC)
        if self._last_trigger is not None and reason == "drift" and at < self._last_trigger + self._drift.cooldown:
            return []
        bounds = self._topics.log.bounds(self._topics.topic("examples"))
        trigger = TrainingTrigger(
            trigger_id=hashlib.sha256(f"{reason}:{detail}:{time}".encode()).hexdigest()[:12],
            reason=reason,
            detail=detail,
            requester="monitor",
            event_time=at,
            ranges=[OffsetRange(partition=p, start=a, stop=b) for p, (a, b) in bounds.items()],
        )
        log.info("trigger %s: %s", reason, detail)
        self._note_trigger(trigger)
        return [self._topics.control("triggers", [trigger], [trigger.trigger_id])]

    def _note_trigger(self, trigger: Record) -> None:
        if isinstance(trigger, TrainingTrigger) and trigger.event_time is not None:
            self._last_trigger = max(self._last_trigger or trigger.event_time, trigger.event_time)

    def _metrics(self, window: Window, figures: dict[str, float], count: int) -> list[Output]:
        start, end = (datetime.fromtimestamp((window.number + i) * self._span / 1e6, UTC) for i in (0, 1))
        records: list[Record] = [
            Metric(model_id=window.model_id, name=n, window_start=start, window_end=end, value=v, count=count)
            for n, v in figures.items()
        ]
        return [self._topics.control("metrics", records, [window.model_id] * len(records))]

    def _learn_decisions(self) -> None:
        """Read decisions and manifests again, past any activation that is just being committed."""
        for offset, record in self._topics.read_control("decisions", settled=True):
            self._state.take(offset, record)
        self._ranks = {m: i for i, m in enumerate(self._state.champions())}

    def _ruling(self) -> str:
        return self._state.in_force.policy.champion if self._state.in_force else ""

    def _rank(self, model_id: str) -> int:
        if model_id not in self._ranks:
            self._learn_decisions()
        return self._ranks.get(model_id, -1)

    def _baseline(self, model_id: str) -> list[FeatureBaseline]:
        if model_id not in self._baselines:
            self._baselines.update({m: p.manifest.baseline for m, p in published(self._topics).items()})
        return self._baselines[model_id]


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _micros_of(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
