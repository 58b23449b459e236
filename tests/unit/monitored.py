"""What was scored and how it turned out, on the in-memory log, with a monitor over it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import NamedTuple

import polars as pl

from headrace.codec.column import BytesColumn
from headrace.declare.pipeline import Pipeline
from headrace.kafka.log import Output
from headrace.kafka.memory import MemoryLog, MemoryWriter
from headrace.schema.records import (
    Activated,
    FeatureBaseline,
    ModelManifest,
    PartitionOffset,
    Policy,
    PolicyMarker,
    Record,
    Route,
)
from headrace.streams.monitor.processor import Monitor
from headrace.testing.memory import in_memory
from headrace.testing.models import model_package
from headrace.testing.pipelines import BEGIN, grouped
from headrace.worker.loop import ExactlyOnceLoop, LoopConfig
from tests.integration.platform import rows_of

MODEL = "m" * 64
OTHER = "o" * 64
BASELINE = FeatureBaseline(feature="price", edges=[0.25, 0.5, 0.75], shares=[0.25, 0.25, 0.25, 0.25])
GROUP = "m.monitor"
_ids = count()


class Scored(NamedTuple):
    """A scored record: its minute of event time, its score, its label and the minute it came; None: none came."""

    minute: float
    score: float
    label: float | None = None
    labelled: float = 0
    user: str = "ann"
    partition: int = 0
    model: str = MODEL
    route: str = "champion"


@dataclass(frozen=True)
class Eager(LoopConfig):
    """Never waits for more records."""

    @property
    def gather(self) -> float:
        return 0.0


class Scene:
    """Topics of a pipeline with groups, and a monitor that can be stopped, killed and started again."""

    def __init__(self, partitions: int = 1, pipeline: Pipeline | None = None) -> None:
        self.log = MemoryLog()
        self.topics = in_memory(pipeline or grouped("m", partitions), self.log)
        self._writer = MemoryWriter(self.log, "test")
        self._loop: ExactlyOnceLoop | None = None
        self.monitor: Monitor | None = None
        policy = Policy(routes=[Route(model_id=MODEL, weight=1)], shadows=[OTHER])
        markers = [PartitionOffset(partition=p, offset=0) for p in range(partitions)]
        activated = Activated(
            activation_id="a",
            model_id=MODEL,
            policy=policy,
            markers=markers,
            reason="",
            order_offset=0,
            evidence_hash="",
        )
        self.control("decisions", [activated])
        self.write(self.topics.control("models", [_manifest(self.topics.pipeline)], [MODEL]))
        for p in range(partitions):
            marker = PolicyMarker(activation_id="a", policy=policy)
            self.write(self.topics.control("features", [marker], ["k"], p))

    def control(self, topic: str, records: Sequence[Record]) -> None:
        self.write(self.topics.control(topic, records, ["k"] * len(records)))

    def write(self, *outputs: Output) -> None:
        """One transaction."""
        self._writer.begin()
        for output in outputs:
            self._writer.write(output)
        self._writer.commit()

    def put(self, topic: str, partition: int, frame: pl.DataFrame) -> None:
        """Rows to a topic, in one transaction."""
        if frame.height:
            keys = BytesColumn.of([b"k"] * frame.height)
            self.write(Output(self.topics.tp(topic, partition), keys, self.topics.codec(topic).encode(frame)))

    def score(self, records: Iterable[Scored]) -> list[Scored]:
        """Write features and predictions, as infer leaves them; gives the records again."""
        taken = list(records)
        self.features(taken)
        self.predictions(taken)
        return taken

    def features(self, records: Iterable[Scored]) -> None:
        for p, mine in _parts(records):
            frame = _common(mine).with_columns(
                raw_offset=pl.lit(0, pl.Int64),
                price=pl.Series([r.score for r in mine], dtype=pl.Float64),
                seen_10m=pl.lit(1, pl.Int64),
                user=pl.Series([r.user for r in mine], dtype=pl.String),
                half=pl.Series([_half(r) for r in mine], dtype=pl.String),
            )
            self.put("features", p, frame)

    def predictions(self, records: Iterable[Scored]) -> None:
        for p, mine in _parts(records):
            frame = _scored(mine).with_columns(
                partition=pl.lit(p, pl.Int32),
                offset=pl.Series(self._offsets_of(p, mine), dtype=pl.Int64),
                marker_offset=pl.lit(0, pl.Int64),
                runtime=pl.lit(""),
            )
            self.put("predictions", p, frame)

    def label(self, records: Iterable[Scored], *, outcomes: bool = True) -> None:
        """Write the labels of the records that have one, and their outcomes as join leaves them."""
        for p, mine in _parts(r for r in records if r.label is not None):
            when = [BEGIN + timedelta(minutes=r.labelled) for r in mine]
            values = pl.Series([r.label for r in mine], dtype=pl.Float64)
            plain = _common(mine).select("id", "key", label=values, label_time=pl.Series(when))
            self.put("labels", p, plain.with_columns(source=pl.lit("raw"), source_offset=pl.lit(0, pl.Int64)))
            if not outcomes:
                continue
            frame = _scored(mine).with_columns(
                label=values,
                label_time=pl.Series(when),
                prediction_offset=pl.lit(0, pl.Int64),
                label_offset=pl.lit(0, pl.Int64),
                feature_offset=pl.Series(self._offsets_of(p, mine), dtype=pl.Int64),
            )
            self.put("outcomes", p, frame)

    def _offsets_of(self, partition: int, records: Sequence[Scored]) -> list[int]:
        """Offsets of the features records, found by id."""
        rows = rows_of(self.topics, "features").filter(p=partition)
        found = dict(rows.select("id", "o").rows())
        return [found[_id(r)] for r in records]

    def run(self, turns: int = 0, batch: int = 10_000) -> None:
        """Let the monitor work: so many turns, or until it has read everything it can."""
        if self._loop is None:
            config = Eager(GROUP, "monitor-0", commit_interval=0.0, batch=batch, idle_poll=0.0)
            self.monitor = Monitor(self.topics)
            self._loop = ExactlyOnceLoop(
                self.log, self.monitor, config, lambda chunk, trace: self.topics.failure("monitor", chunk, trace)
            )
        if turns:
            for _ in range(turns):
                self._loop.turn()
            return
        for _ in range(3_000):
            before = self.log.groups[GROUP].committed.copy()
            for _ in range(4):
                self._loop.turn()
            if before and before == self.log.groups[GROUP].committed:
                return
        raise AssertionError("the monitor does not come to rest")

    def kill(self) -> None:
        """The monitor's process ends without a word."""
        if self._loop is not None:
            self.log.expire(GROUP, "monitor-0")
            self._loop = None

    def metrics(self) -> pl.DataFrame:
        """Every figure that stands in the topic, in log order, ``hour`` the number of its window."""
        rows = rows_of(self.topics, "metrics")
        assert rows.select("model_id", "route", "group", "name", "window_start", "version").is_duplicated().sum() == 0
        return rows.with_columns(hour=(pl.col("window_start") - BEGIN).dt.total_hours()).drop("p")

    def figures(self, name: str, *, group: str = "", route: str = "champion") -> list[tuple[object, ...]]:
        """Hour, version and value of a figure, in log order."""
        rows = self.metrics().filter(pl.col("name") == name, pl.col("group") == group, pl.col("route") == route)
        return rows.select("hour", "version", "value").rows()


def latest(metrics: pl.DataFrame) -> pl.DataFrame:
    """The highest version of every figure."""
    key = ["model_id", "route", "group", "hour", "name"]
    return metrics.sort("version").group_by(key).last().sort(key)


def _manifest(pipeline: Pipeline) -> ModelManifest:
    return model_package(pipeline, 0).manifest.model_copy(update={"model_id": MODEL, "baseline": [BASELINE]})


def _half(record: Scored) -> str:
    return "first" if record.minute % 60 < 30 else "second"


def _id(record: Scored) -> str:
    return f"{record.minute}-{record.user}-{record.partition}"


def _parts(records: Iterable[Scored]) -> list[tuple[int, list[Scored]]]:
    parts: dict[int, list[Scored]] = {}
    for record in records:
        parts.setdefault(record.partition, []).append(record)
    return list(parts.items())


def _common(records: Sequence[Scored]) -> pl.DataFrame:
    times = [BEGIN + timedelta(minutes=r.minute) for r in records]
    return pl.DataFrame({"id": [_id(r) for r in records], "key": ["k"] * len(records), "event_time": times})


def _scored(records: Sequence[Scored]) -> pl.DataFrame:
    return _common(records).with_columns(
        model_id=pl.Series([r.model for r in records]),
        route=pl.Series([r.route for r in records]),
        outputs=pl.Series([[r.score] for r in records], dtype=pl.List(pl.Float32)),
    )
