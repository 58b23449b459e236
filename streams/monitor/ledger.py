"""The ``metrics`` topic: what stands there, and what is added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from headrace.kafka.log import Output, read_all
from headrace.streams.monitor.clocks import CLOCKS, Clock, Clocks
from headrace.streams.monitor.figures import Figure
from headrace.streams.monitor.versions import Key, Versions
from headrace.topics.pipeline_topics import PipelineTopics

LATE = "late"
"""Records that came for a window after it was final; they are in none of its figures."""
EVENT_TIME = "event_time."
"""And a clock's name: the end of the newest window that is over by it, seconds since 1970."""


class _Row(NamedTuple):
    key: Key
    name: str
    version: int
    figure: Figure


class Ledger:
    """Turns figures into records, each version of each once.

    Args:
        topics: the pipeline's topics.
        clocks: set from the topic by :meth:`recall`; windows that are final by them are not kept.
    """

    def __init__(self, topics: PipelineTopics, clocks: Clocks) -> None:
        self._topics = topics
        self._clocks = clocks
        self._features = Versions()
        self._scores = Versions()
        self._late: dict[Key, tuple[int, int]] = {}
        self._rows: list[_Row] = []

    def recall(self) -> None:
        """Read what stands in the topic, past any transaction that is just being committed."""
        topic = self._topics.topic("metrics")
        for chunk in read_all(self._topics.log, topic, settled=True):
            frame = self._topics.codec("metrics").decode(chunk.values).frame()
            start, end = (pl.col(c).to_physical() for c in ("window_start", "window_end"))
            frame = frame.filter(end - start == self._clocks.span).with_columns(number=start // self._clocks.span)
            newest = frame.group_by("name").agg(pl.col("number").max())
            times = {f"{EVENT_TIME}{clock}": clock for clock in CLOCKS}
            for name, number in newest.filter(pl.col("name").is_in(list(times))).rows():
                self._clocks.set(times[name], number + 1)
            rest = frame.filter(~pl.col("name").str.starts_with(EVENT_TIME))
            late = pl.col("name") == LATE
            final = pl.when(pl.col("route") == "").then(self._clocks.final_features)
            for row in rest.filter(late | (pl.col("number") >= final.otherwise(self._clocks.final_scores))).rows(
                named=True
            ):
                key = Key(row["model_id"], row["route"], row["group"], row["number"])
                if row["name"] == LATE:
                    self._late[key] = (row["version"], int(row["value"]))
                else:
                    figure = Figure(row["value"], row["count"], tuple(row["bins"]))
                    self._versions(key).recall(key, row["name"], row["version"], figure)
        self.finish()

    def window(self, key: Key, figures: Mapping[str, Figure]) -> None:
        """Add the figures of a window that are not yet written so."""
        due = self._versions(key).due(key, dict(figures))
        if due is not None:
            self._rows += [_Row(key, name, due.number, figure) for name, figure in due.figures.items()]

    def late(self, key: Key, count: int) -> None:
        """Add to how many records came for a window after it was final."""
        version, before = self._late.get(key, (0, 0))
        self._late[key] = (version + 1, before + count)
        self._rows.append(_Row(key, LATE, version + 1, Figure(before + count, before + count)))

    def clock(self, clock: Clock, model_id: str, partitions: int) -> None:
        """Add how far event time has come; ``model_id`` is in force, ``partitions`` have reached it."""
        over = self._clocks.over[clock]
        figure = Figure(over * self._clocks.span / 1e6, partitions)
        self._rows.append(_Row(Key(model_id, "", "", over - 1), f"{EVENT_TIME}{clock}", 1, figure))

    def finish(self) -> None:
        """Let go of the windows that are final."""
        self._features.finish(self._clocks.final_features)
        self._scores.finish(self._clocks.final_scores)

    def outputs(self) -> list[Output]:
        """What was added since this was last asked for."""
        rows, self._rows = self._rows, []
        if not rows:
            return []
        start = np.array([r.key.number for r in rows], dtype=np.int64) * self._clocks.span
        frame = pl.DataFrame(
            {
                "model_id": [r.key.model_id for r in rows],
                "name": [r.name for r in rows],
                "group": [r.key.group for r in rows],
                "window_start": pl.Series(start).cast(pl.Datetime("us", "UTC")),
                "window_end": pl.Series(start + self._clocks.span).cast(pl.Datetime("us", "UTC")),
                "value": pl.Series([float(r.figure.value) for r in rows], dtype=pl.Float64),
                "count": pl.Series([r.figure.records for r in rows], dtype=pl.Int64),
                "route": [r.key.route for r in rows],
                "version": pl.Series([r.version for r in rows], dtype=pl.Int32),
                "bins": pl.Series([list(r.figure.bins) for r in rows], dtype=pl.List(pl.Float64)),
            }
        )
        return [self._topics.rows("metrics", 0, frame, [r.key.model_id.encode() for r in rows])]

    def _versions(self, key: Key) -> Versions:
        return self._scores if key.route else self._features
