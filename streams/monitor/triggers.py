"""When a retraining is asked for, and when not: triggers are spaced by event time, whoever asked for the last one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

from headrace.declare.pipeline import Pipeline
from headrace.schema.records import OffsetRange, Record, TrainingTrigger
from headrace.streams.monitor.event_time import NEVER
from headrace.streams.monitor.feature_windows import Closed

log = logging.getLogger("headrace.monitor")


class Triggers:
    """The triggers of a pipeline.

    Args:
        pipeline: whose thresholds, schedule and cool-down hold.
        ranges: gives the offsets of the examples there are now.
    """

    def __init__(self, pipeline: Pipeline, ranges: Callable[[], list[OffsetRange]]) -> None:
        self._drift = pipeline.drift
        self._every = pipeline.training.every
        self._ranges = ranges
        self._last: datetime | None = None

    def note(self, trigger: Record) -> None:
        """Take a trigger that stands in the topic."""
        if isinstance(trigger, TrainingTrigger) and trigger.event_time is not None:
            self._last = max(self._last or trigger.event_time, trigger.event_time)

    def features_moved(self, closed: Closed, end: int, ruling: str) -> list[TrainingTrigger]:
        """A window of features is over (``end``: microseconds of event time): has the ruling model's input moved?

        In windows of few rows the index is large by chance: those are passed over.
        """
        watched = {n: v for n, v in closed.psi.items() if n in closed.moved and n not in self._drift.ignore}
        moved = sorted((n for n, v in watched.items() if v > self._drift.psi), key=lambda n: -watched[n])
        if not moved or not closed.whole or closed.window.model_id != ruling:
            return []
        said = ", ".join(f"{n} {watched[n]:.2f}" for n in moved[:3])
        return self._ask("drift", f"PSI over {self._drift.psi:g}: {said}", end)

    def error_rose(self, model_id: str, partition: int, time: int) -> list[TrainingTrigger]:
        """The error of the champion has risen, at this event time in microseconds."""
        return self._ask("drift", f"error of {model_id[:12]} rose in partition {partition} (Page-Hinkley)", time)

    def scheduled(self, time: int) -> list[TrainingTrigger]:
        """Event time has come to ``time``, microseconds: is the pipeline's next training due?"""
        if self._every is None or self._last is None or time == NEVER or time < _micros(self._last + self._every):
            return []
        return self._ask("schedule", f"{self._every.days} days since the last trigger", time)

    def _ask(self, reason: Literal["drift", "schedule"], detail: str, time: int) -> list[TrainingTrigger]:
        at = datetime.fromtimestamp(time / 1_000_000, UTC)
        if self._last is not None and reason == "drift" and at < self._last + self._drift.cooldown:
            return []
        trigger = TrainingTrigger(
            trigger_id=hashlib.sha256(f"{reason}:{detail}:{time}".encode()).hexdigest()[:12],
            reason=reason,
            detail=detail,
            requester="monitor",
            event_time=at,
            ranges=self._ranges(),
        )
        log.info("trigger %s: %s", reason, detail)
        self.note(trigger)
        return [trigger]


def _micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
