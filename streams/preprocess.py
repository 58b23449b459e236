"""raw -> features and labels, by the pipeline's own functions, with history to the horizon."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from headrace.declare.pipeline import OFFSET
from headrace.features.state import WindowState
from headrace.kafka.log import Chunk, TopicPartition
from headrace.models.inputs import Misfit, misfits, wrong_labels
from headrace.streams.ahead import ahead, any_ahead, early
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.processor import Figure, Stateless, Step
from headrace.worker.time_limit import time_limit

Letter = tuple[int, str, str]
"""A record, by its place in the batch or its offset; the code of its dead letter, and the reason."""


LARGE_HORIZON = 100_000
"""Rows in the horizon from which on a line says what they cost."""
log = logging.getLogger("headrace.preprocess")


class BrokenContract(Exception):
    """What the pipeline's function gave is not what it promised."""


@dataclass(frozen=True)
class History:
    """The raw rows of one partition that later features may look at, and the newest event time seen.

    A pipeline with windows has no such rows: its state are the windows.
    """

    rows: pl.DataFrame
    newest: datetime | None


class Preprocess(Stateless):
    """Turns raw events into feature rows and labels.

    A feature row depends on the rows before it in its partition whose event time lies within the pipeline's
    horizon of the newest event so far, and on nothing else: not on where batches begin. An event that comes
    more than ``lateness`` behind that newest event could need history already let go: it is dead-lettered. So is one
    whose time, or whose label's, is ahead of the log's: the newest event would be one that has not come yet.
    """

    name = "preprocess"
    timed = True

    def __init__(self, topics: PipelineTopics) -> None:
        self._topics = topics
        self._pipeline = topics.pipeline
        self.inputs = (topics.topic("raw"),)
        self._history: dict[int, History] = {}
        self._windows: dict[int, WindowState] = {}

    def process(self, batch: Chunk) -> Step:
        decoded = self._topics.codec("raw").decode(batch.values)
        dead = self._topics.dead_letters(self.name, batch, decoded)
        places = decoded.places()
        rows = decoded.frame().with_columns(pl.Series(OFFSET, batch.offsets[places], dtype=pl.Int64))
        history = self._history.get(batch.tp.partition)
        rows, implausible = self._plausible(batch, rows)
        dead += self._topics.dead(self.name, batch, implausible)
        rows, late = self._without_late(rows, history)
        dead += self._topics.dead(self.name, batch, _late_letters(batch, late))
        if rows.is_empty():
            return Step(dead)
        frame, given, refused = self._looking_back(batch.tp.partition, history, rows)
        dead += self._topics.dead(self.name, batch, _places(batch, refused))
        features, unfit = self._features(given, rows)
        dead += self._topics.dead(self.name, batch, _places(batch, unfit))
        labels, invalid = self._labels(batch, frame, rows)
        dead += self._topics.dead(self.name, batch, invalid)
        partition = batch.tp.partition
        step = Step(
            [
                self._topics.rows("features", partition, features, _keys(features)),
                self._topics.rows("labels", partition, labels, _keys(labels)),
                *dead,
            ]
        )
        self._history[partition] = self._kept(history, frame)
        if partition in self._windows:
            self._windows[partition].went_through(int(rows[OFFSET][-1]))
        return step

    def rebuild_from(self, tp: TopicPartition, position: int) -> int:
        if tp.partition in self._windows:
            return self._windows[tp.partition].rebuild_from(position)
        history = self._history.get(tp.partition)
        return position if history is None or history.rows.is_empty() else int(history.rows[OFFSET][0])

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._history.clear()
        self._windows.clear()
        if tps:
            self._topics.prepare("features", "labels", "dead")

    def figures(self) -> Iterable[Figure]:
        for partition, state in list(self._windows.items()):
            labels = {"partition": str(partition)}
            yield Figure("window_groups", "Groups that windows hold.", labels, state.groups)
            yield Figure("window_bytes", "Memory of compiled windows.", labels, state.bytes)
        for partition, history in list(self._history.items()):
            if not self._pipeline.windows:
                doc = "Raw rows in the horizon: features() looks at all of them with each batch."
                yield Figure("horizon_rows", doc, {"partition": str(partition)}, history.rows.height)

    def _looking_back(
        self, partition: int, history: History | None, rows: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame, list[Letter]]:
        """The new rows with what they look at: for labels, for features, and letters by offset for those without."""
        if not self._pipeline.windows:
            frame = rows if history is None else pl.concat([history.rows, rows])
            return frame, frame, []
        if partition not in self._windows:
            self._windows[partition] = WindowState(self._pipeline)
        frame, refused = self._windows[partition].with_windows(rows)
        given = frame.filter(~pl.col(OFFSET).is_in(list(refused))) if refused else frame
        return frame, given, [(offset, "window_not_finite", why) for offset, why in sorted(refused.items())]

    def _plausible(self, batch: Chunk, rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Letter]]:
        """Split off the rows whose event time is none: one of the year 9999 would make all that follow late."""
        letters = self._implausible(batch, rows[OFFSET], rows[self._pipeline.event_time], "event time")
        return _without(rows, batch, letters), letters

    def _implausible(self, batch: Chunk, offsets: pl.Series, times: pl.Series, what: str) -> list[Letter]:
        """Letters for the records at ``offsets`` whose time is none."""
        (first, last), allowed = self._pipeline.times, self._pipeline.clock_ahead
        inside = times.is_between(first, last).fill_null(False)
        if inside.all() and not any_ahead(batch, times, allowed):
            return []
        places = np.searchsorted(batch.offsets, offsets.to_numpy())
        beyond = ~inside.to_numpy()
        odd = ahead(batch, places, times, allowed) & ~beyond
        outside = f"its {what} is not from {first:%Y-%m-%d} to {last:%Y-%m-%d}, the pipeline's times"
        found = [(p, "implausible_time", outside) for p in places[beyond].tolist()]
        return sorted(found + early(places[odd], what, allowed))

    def _without_late(self, rows: pl.DataFrame, history: History | None) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Split off the rows that come too far behind the newest event before them in the log."""
        time = pl.col(self._pipeline.event_time)
        newest = time.cum_max()
        if history is not None and history.newest is not None:
            newest = pl.max_horizontal(newest, pl.lit(history.newest, dtype=pl.Datetime("us", "UTC")))
        is_late = rows.select((time < newest - self._pipeline.lateness).alias("late"))["late"]
        return rows.filter(~is_late), rows.filter(is_late)

    def _features(self, frame: pl.DataFrame, rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Letter]]:
        """Feature records of the new rows, and (offset, code, reason) of those that no model can take."""
        with self._in_time("features", len(rows)):
            given = self._pipeline.features(frame)
        made = self._called(given, frame, self._pipeline.feature_columns, "features")
        made = made.join(self._identity(rows), on=OFFSET, how="inner", maintain_order="left")
        made = made.rename({OFFSET: "raw_offset"})
        return _split(made, "raw_offset", misfits(self._pipeline, made), "features")

    def _labels(self, batch: Chunk, frame: pl.DataFrame, rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Letter]]:
        """Label records of the new rows, and letters for those that reveal none of the target's."""
        with self._in_time("labels", len(rows)):
            given = self._pipeline.labels(frame)
        made = self._called(given, frame, {"label": pl.Float64()}, "labels")
        made = made.with_columns(self._numbers(made["label"]))
        made = made.join(self._identity(rows), on=OFFSET, how="inner", maintain_order="left", suffix="_of_row")
        made, invalid = _split(made, OFFSET, wrong_labels(self._pipeline.target, made), "labels")
        letters = _places(batch, invalid)
        if "label_time" in made.columns:
            odd = self._implausible(batch, made[OFFSET], self._moments(made["label_time"]), "label time")
            made, letters = _without(made, batch, odd), letters + odd
        else:
            made = made.with_columns(pl.col("event_time").alias("label_time"))
        return made.with_columns(pl.lit("raw").alias("source"), pl.col(OFFSET).alias("source_offset")), letters

    def _numbers(self, labels: pl.Series) -> pl.Series:
        if not (labels.dtype.is_numeric() or labels.dtype in (pl.Boolean, pl.Null)):
            raise BrokenContract(
                f"labels() of pipeline {self._pipeline.name} gave 'label' as {labels.dtype}: give numbers or booleans"
            )
        return labels.cast(pl.Float64)

    def _moments(self, times: pl.Series) -> pl.Series:
        if not isinstance(times.dtype, pl.Datetime) or times.dtype.time_zone is None:
            raise BrokenContract(
                f"labels() of pipeline {self._pipeline.name} gave 'label_time' as {times.dtype}: give a Datetime with "
                "a time zone"
            )
        return times

    def _identity(self, rows: pl.DataFrame) -> pl.DataFrame:
        p = self._pipeline
        return rows.select(
            pl.col(p.id).cast(pl.String).alias("id"),
            pl.col(p.key).cast(pl.String).alias("key"),
            pl.col(p.event_time).cast(pl.Datetime("us", "UTC")).alias("event_time"),
            OFFSET,
        )

    def _in_time(self, what: str, rows: int) -> AbstractContextManager[None]:
        limit = self._pipeline.function_limit.total_seconds()
        share = max(1 / 3, min(1.0, rows / self.batch))
        return time_limit(limit * share, f"{what}() of pipeline {self._pipeline.name}")

    def _called(
        self, made: pl.DataFrame, frame: pl.DataFrame, columns: dict[str, pl.DataType], what: str
    ) -> pl.DataFrame:
        """Hold what a user's function returned to its contract."""
        wanted = {OFFSET: pl.Int64(), **columns}
        if missing := wanted.keys() - set(made.columns):
            raise BrokenContract(f"{what}() of pipeline {self._pipeline.name} gave no column {sorted(missing)[0]!r}")
        if wrong := [n for n, t in wanted.items() if made.schema[n] != t and n != "label"]:
            raise BrokenContract(
                f"{what}() of pipeline {self._pipeline.name} gave {wrong[0]!r} as {made.schema[wrong[0]]}, "
                f"on an empty frame as {wanted[wrong[0]]}"
            )
        if made[OFFSET].is_duplicated().any() or not made[OFFSET].is_in(frame[OFFSET].implode()).all():
            raise BrokenContract(
                f"{what}() of pipeline {self._pipeline.name} must keep 'offset' as it came, once a row"
            )
        return made.sort(OFFSET)

    def _kept(self, before: History | None, frame: pl.DataFrame) -> History:
        """What later rows may look at: the horizon and the allowed lateness behind the newest event."""
        time = frame[self._pipeline.event_time]
        newest = time.max()
        assert isinstance(newest, datetime)
        if self._pipeline.windows:
            newest = newest if before is None or before.newest is None else max(newest, before.newest)
            return History(frame.clear(), newest)
        keep = time >= newest - self._pipeline.horizon - self._pipeline.lateness
        rows = frame.filter(keep)
        if rows.height >= LARGE_HORIZON > (0 if before is None else before.rows.height):
            log.warning(
                "%d rows lie in the horizon of %s, and features() looks at all of them with each batch. Windows "
                "cost the same at any horizon (docs/windows.md)",
                rows.height,
                self._pipeline.name,
            )
        return History(rows, newest)


def _late_letters(batch: Chunk, late: pl.DataFrame) -> list[Letter]:
    reason = "the event is further behind its partition's newest event than the pipeline's lateness allows"
    return _places(batch, [(int(o), "too_late", reason) for o in late[OFFSET]])


def _places(batch: Chunk, failed: list[Letter]) -> list[Letter]:
    """Offsets to places in the batch."""
    return [(int(np.searchsorted(batch.offsets, offset)), code, reason) for offset, code, reason in failed]


def _split(made: pl.DataFrame, offset: str, found: list[Misfit], function: str) -> tuple[pl.DataFrame, list[Letter]]:
    """What a function made but for the misfits, and letters for these by offset, which stands in that column."""
    if not found:
        return made, []
    gone = np.zeros(made.height, dtype=np.bool_)
    gone[[m.row for m in found]] = True
    return made.filter(~pl.Series(gone)), [
        (int(made[offset][m.row]), m.code, f"{function}() gave {m.said}") for m in found
    ]


def _without(rows: pl.DataFrame, batch: Chunk, letters: list[Letter]) -> pl.DataFrame:
    """The rows but for those that a letter is of."""
    if not letters:
        return rows
    gone = pl.Series(batch.offsets[[place for place, _, _ in letters]])
    return rows.filter(~pl.col(OFFSET).is_in(gone.implode()))


def _keys(frame: pl.DataFrame) -> list[bytes | None]:
    return [key.encode() for key in frame["key"]]
