"""The feed of the demo: a time lapse of the year that slows down while a model is in the making."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from headrace.client.events import EventProducer
from headrace.topics.pipeline_topics import PipelineTopics

FAST_DAYS, SLOW_DAYS = 8.0, 1.0
"""Days of event time in a second: in the open, and while a model is being made, so that a training takes days
of the year and not months."""
BEHIND = 25_000
"""The feed waits while the processors are this many events behind it."""
CHECK_S = 0.3
SLICE_S = 0.15


@dataclass
class Feed:
    """Pushes events in slices of event time.

    Args:
        topics: the pipeline's topics.
        events: every event, in order.
    """

    topics: PipelineTopics
    events: pl.DataFrame
    sent: int = 0
    clock: datetime | None = None

    def __post_init__(self) -> None:
        self._producer = EventProducer(self.topics, "demo-feed")
        self._times = self.events["at"].to_physical()
        self._next_check = 0.0
        self._behind = 0

    @property
    def done(self) -> bool:
        return self.sent == self.events.height

    def all_before(self, end: datetime, progress: Callable[[int], None]) -> None:
        """Push everything before ``end`` as fast as Kafka takes it."""
        stop = self._place(end)
        while self.sent < stop:
            progress(self._push(min(self.sent + 10_000, stop)))
        self._producer.flush()

    def lapse(self, making: Callable[[], bool], turn: Callable[[], None], progress: Callable[[int], None]) -> None:
        """Push the rest by event time; ``turn`` is called between slices, ``making`` says whether to go slowly."""
        last = time.monotonic()
        at = self.events["at"][self.sent]
        while not self.done:
            now = time.monotonic()
            passed, last = now - last, now
            if not self._too_far_ahead():
                at += timedelta(days=min(passed, 0.5) * (SLOW_DAYS if making() else FAST_DAYS))
                progress(self._push(max(self._place(at), self.sent)))
            turn()
            time.sleep(max(0.0, now + SLICE_S - time.monotonic()))
        self._producer.flush()

    def _push(self, stop: int) -> int:
        rows = self.events.slice(self.sent, stop - self.sent)
        if rows.height:
            self._producer.send_rows(rows)
            self.clock = rows["at"][-1]
        self.sent += rows.height
        return rows.height

    def _place(self, at: datetime) -> int:
        return int(self.events["at"].search_sorted(at, side="left"))

    def _too_far_ahead(self) -> bool:
        """Whether the examples lag far behind the events sent. Two events a flight; offsets are near enough here."""
        if time.monotonic() > self._next_check:
            self._next_check = time.monotonic() + CHECK_S
            reached = sum(end for _, end in self.topics.log.bounds(self.topics.topic("examples")).values())
            self._behind = self.sent - 2 * reached
        return self._behind > BEHIND
