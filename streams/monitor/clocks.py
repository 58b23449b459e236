"""Which windows are over and which are final, from how far event time has come."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, get_args

from headrace.declare.pipeline import Pipeline
from headrace.streams.monitor.event_time import NEVER

Clock = Literal["features", "predictions", "labels"]
CLOCKS: tuple[Clock, ...] = get_args(Clock)


class Clocks:
    """Event time by features, predictions and labels, in whole windows: each moves on only as a window ends.

    A window of features is final when the features' clock is ``lateness`` past its end; one of scores, when the
    predictions' and the labels' clocks are the label horizon and ``lateness`` past it. Both at the end of a window.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.span = micros(pipeline.drift.window)
        """Length of a window, microseconds."""
        self._lateness = micros(pipeline.lateness)
        self._horizon = micros(pipeline.label_horizon)
        self.over: dict[Clock, int] = dict.fromkeys(CLOCKS, NEVER)
        """By each clock, the number of the first window that is not over."""

    def advance(self, clock: Clock, time: int) -> bool:
        """Event time has come to ``time``, microseconds; whether a window is over that was not."""
        return self.set(clock, time // self.span if time != NEVER else NEVER)

    def set(self, clock: Clock, over: int) -> bool:
        """The windows of lower numbers are over; whether one is that was not."""
        moved = over > self.over[clock]
        self.over[clock] = max(over, self.over[clock])
        return moved

    @property
    def final_features(self) -> int:
        """Number of the first window of features that may still change."""
        return self._behind(self.over["features"], self._lateness)

    @property
    def final_scores(self) -> int:
        """Number of the first window of scores that may still change."""
        return self._behind(min(self.over["predictions"], self.over["labels"]), self._horizon + self._lateness)

    def _behind(self, over: int, by: int) -> int:
        return NEVER if over == NEVER else (over * self.span - by) // self.span


def micros(span: timedelta) -> int:
    """A span in microseconds."""
    return span // timedelta(microseconds=1)
