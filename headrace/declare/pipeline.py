"""What a user declares: one frozen object that every processor reads.

A pipeline names its raw schema, its key, id and event time, and two functions over Polars frames:
``features`` (events in log order -> one row per event to score) and ``labels`` (events in log order ->
the labels they reveal). Everything else has a default.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from os import PathLike
from typing import Any

import polars as pl

from headrace.codec.types import avro_type_of, polars_schema
from headrace.declare.aggregations import NONE, Windows, endless, reach_of, window_types
from headrace.declare.drift import Drift
from headrace.declare.duration import duration
from headrace.declare.forward import FORWARDED, Forward
from headrace.declare.gates import Gates
from headrace.declare.raw_schema import Schema, schema
from headrace.declare.target import Binary
from headrace.declare.training import Training
from headrace.errors import ConfigError, SchemaError

OFFSET = "offset"
"""Column of a raw frame that holds the record's offset; feature and label rows keep it to say where they came from."""

RESERVED = frozenset({"id", "key", "event_time", "raw_offset"})
"""Fields headrace itself puts in a features record."""

FrameFunction = Callable[[pl.DataFrame], pl.DataFrame]
LEAST_AHEAD = timedelta(minutes=1)
"""How far the clocks of producers may be ahead at least, where a pipeline does not say."""


@dataclass(frozen=True, kw_only=True, init=False)
class Pipeline:
    """An ML pipeline on Kafka, as its user declares it.

    Args:
        name: prefix of every topic: letters, digits, ``-`` and ``_``.
        raw: Avro record schema of the raw events: the schema itself, or the file that holds it. A relative path is
            looked up from the folder of the file that declares the pipeline.
        key: field that keys every topic (its hash picks the partition, so it bounds what features can see).
        id: field that names one thing to score; joins, routing and people use it.
        event_time: field with the event's time, ``timestamp-micros`` or ``timestamp-millis``.
        features: raw rows of one partition in log order (all raw fields, and ``offset``) -> one row per event
            to score: ``offset`` of that event and the feature columns. Numbers and booleans are the model's
            input, in this order; strings are carried along for groups. It may look back over ``horizon``; with
            ``windows``, it is given new rows alone, and each window as a column.
        labels: raw rows in log order -> one row per label: ``offset`` and ``label``; also ``id`` and
            ``label_time`` where they are not those of the row itself.
        target: what the label means.
        windows: name -> what is computed of the rows before each, kept by the platform at any horizon
            (:mod:`headrace.declare.aggregations`); ``features`` and ``labels`` find them as columns.
        horizon: how far back in event time ``features`` looks, where there are no ``windows``. Its cost is that of the
            rows in the horizon, each batch. Spans are timedeltas, or written as ``10m`` or ``30d``.
        label_horizon: how long after the features a label may come.
        lateness: how far behind its partition's newest event an event may be and still be used.
        categorical: numeric features that are codes, not quantities.
        added: feature columns that the pipeline did not have from the start: features and examples written before them
            are read with null there. Models that do not use them go on; training takes the examples that have them.
        groups: string columns of the feature rows by which quality and fairness are split.
        partitions: partitions of each keyed topic.
        training: how a trigger's examples become a model.
        drift: when the monitor asks for a retraining.
        gates: what a candidate must pass.
        forward: what is sent to a search engine.
        times: event times from the first to the last are plausible; records with others are dead-lettered.
        clock_ahead: how far a time may be ahead of its record's timestamp in Kafka; records with one further ahead are
            dead-lettered. None: as far as ``lateness``, so that none that is let in makes one late that comes in time,
            but a minute at least. Events made for the future need more.
        failure_limit: share of the last records on which user code may fail before the worker stops.
        function_limit: how long ``features`` or ``labels`` may take on a batch. The batch is then halved down to the
            records on which they do not return, which are dead-lettered; each part may take a third of it at least.

    Raises:
        SchemaError: a part does not fit the others; the message names it.
        ConfigError: a span is not written as one.
    """

    name: str
    raw: Schema
    key: str
    id: str
    event_time: str
    features: FrameFunction
    labels: FrameFunction
    target: Binary
    windows: Windows
    horizon: timedelta
    label_horizon: timedelta
    lateness: timedelta
    categorical: tuple[str, ...]
    added: tuple[str, ...]
    groups: tuple[str, ...]
    partitions: int
    training: Training
    drift: Drift
    gates: Gates
    forward: Forward
    times: tuple[datetime, datetime]
    clock_ahead: timedelta
    failure_limit: float
    function_limit: timedelta

    def __init__(
        self,
        name: str,
        *,
        raw: Schema | str | PathLike[str],
        key: str,
        id: str,
        event_time: str,
        features: FrameFunction,
        labels: FrameFunction,
        target: Binary,
        windows: Windows | None = None,
        horizon: timedelta | str | None = None,
        label_horizon: timedelta | str = timedelta(days=7),
        lateness: timedelta | str = timedelta(hours=1),
        categorical: Sequence[str] = (),
        added: Sequence[str] = (),
        groups: Sequence[str] = (),
        partitions: int = 4,
        training: Training | None = None,
        drift: Drift | None = None,
        gates: Gates | None = None,
        forward: Forward | None = None,
        times: tuple[datetime, datetime] = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)),
        clock_ahead: timedelta | str | None = None,
        failure_limit: float = 0.5,
        function_limit: timedelta | str = timedelta(seconds=30),
    ) -> None:
        if not isinstance(raw, dict):
            raw = schema(raw, beside=sys._getframe(1).f_globals.get("__file__", "."))
        if (windows and horizon) or (not windows and horizon is None):
            raise SchemaError(
                f"pipeline {name}: give windows, which the platform keeps, or a horizon over which features() is given "
                "whole frames; not both, and not neither"
            )
        late = duration(lateness, f"pipeline {name}: lateness")
        ahead = max(late, LEAST_AHEAD) if clock_ahead is None else clock_ahead
        declared = {
            "name": name,
            "raw": raw,
            "key": key,
            "id": id,
            "event_time": event_time,
            "features": features,
            "labels": labels,
            "target": target,
            "windows": dict(windows or {}),
            "horizon": NONE if horizon is None else duration(horizon, f"pipeline {name}: horizon"),
            "label_horizon": duration(label_horizon, f"pipeline {name}: label_horizon"),
            "lateness": late,
            "categorical": _names(categorical, f"pipeline {name}: categorical"),
            "added": _names(added, f"pipeline {name}: added"),
            "groups": _names(groups, f"pipeline {name}: groups"),
            "partitions": partitions,
            "training": training or Training(),
            "drift": drift or Drift(),
            "gates": gates or Gates(),
            "forward": forward or Forward(),
            "times": times,
            "clock_ahead": duration(ahead, f"pipeline {name}: clock_ahead"),
            "failure_limit": failure_limit,
            "function_limit": duration(function_limit, f"pipeline {name}: function_limit"),
        }
        for field_name, value in declared.items():
            object.__setattr__(self, field_name, value)
        self._check()

    def _check(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", self.name):
            raise SchemaError(f"pipeline name {self.name!r}: use letters, digits, - and _")
        fields = self.raw_columns
        for role in ("key", "id", "event_time"):
            if getattr(self, role) not in fields:
                raise SchemaError(
                    f"pipeline {self.name}: {role}={getattr(self, role)!r} is no field of {self.raw['name']}; "
                    f"it has {', '.join(fields)}"
                )
        self._check_event_time(fields[self.event_time])
        if elsewhere := set(self.forward.topics) - set(FORWARDED):
            raise SchemaError(
                f"pipeline {self.name}: {', '.join(sorted(elsewhere))} cannot be forwarded; "
                f"what can is {', '.join(FORWARDED)}"
            )
        _ = self.window_types
        unknown = {*self.categorical, *self.drift.ignore} - set(self.inputs)
        unknown |= {*self.groups, *self.added} - set(self.feature_columns)
        if unknown:
            raise SchemaError(f"pipeline {self.name}: no such feature: {', '.join(sorted(unknown))}")

    def _check_event_time(self, dtype: pl.DataType) -> None:
        where = f"pipeline {self.name}: event_time={self.event_time!r} of {self.raw['name']}"
        if not isinstance(dtype, pl.Datetime):
            raise SchemaError(f"{where} is {dtype}: declare it a long of logicalType timestamp-micros or -millis")
        if dtype.time_zone is None:
            raise SchemaError(
                f"{where} is a local-timestamp, which says no zone and so no moment: declare it timestamp-micros or "
                "-millis and send it in UTC"
            )

    @cached_property
    def raw_columns(self) -> dict[str, pl.DataType]:
        """Name of each raw field -> type of its column."""
        return dict(polars_schema(self.raw))

    @cached_property
    def window_types(self) -> dict[str, pl.DataType]:
        """Name of each window -> type of its values."""
        try:
            return window_types(self.windows, self.raw_columns)
        except ConfigError as e:
            raise ConfigError(f"pipeline {self.name}: {e}") from None

    @property
    def reach(self) -> timedelta:
        """How far back in event time a row's features look, windows of all time aside."""
        return max(self.horizon, reach_of(self.windows))

    @property
    def endless(self) -> bool:
        """Whether a window is of all time: then features need every raw record there was."""
        return endless(self.windows)

    @cached_property
    def feature_columns(self) -> dict[str, pl.DataType]:
        """Column name -> dtype of a feature row, found by calling ``features`` on an empty frame."""
        empty = pl.DataFrame(schema={**self.raw_columns, OFFSET: pl.Int64(), **self.window_types})
        try:
            columns = dict(self.features(empty).schema)
        except Exception as e:
            raise SchemaError(f"pipeline {self.name}: features() fails on an empty frame: {e}") from e
        if columns.pop(OFFSET, None) != pl.Int64:
            raise SchemaError(f"pipeline {self.name}: features() must keep the column 'offset' as it came")
        if clash := RESERVED & set(columns):
            raise SchemaError(f"pipeline {self.name}: feature names taken by headrace: {', '.join(sorted(clash))}")
        if odd := [name for name in columns if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)]:
            raise SchemaError(
                f"pipeline {self.name}: feature {odd[0]!r} cannot be a field of an Avro record: "
                "use letters, digits and _, and no digit first"
            )
        return columns

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model's input columns, in order: the feature columns that are numbers or booleans."""
        return tuple(n for n, t in self.feature_columns.items() if t.is_numeric() or t == pl.Boolean)

    @cached_property
    def feature_schema(self) -> Schema:
        """Avro schema of a features record: id, key, event time, the raw record's offset, the feature columns."""
        return self._record("Features", self._identity() + self._feature_fields())

    @cached_property
    def feature_schemas(self) -> tuple[Schema, ...]:
        """The schema of a features record now, and before each of the ``added`` columns, which came in their order."""
        gone = [set(self.added[k:]) for k in reversed(range(len(self.added)))]
        fields = self.feature_schema["fields"]
        earlier = [self._record("Features", [f for f in fields if f["name"] not in names]) for names in gone]
        return (self.feature_schema, *earlier)

    @cached_property
    def example_schema(self) -> Schema:
        """Avro schema of an example: a features record, its label, and the coordinates of both."""
        label: list[dict[str, Any]] = [
            {"name": "label", "type": "double", "doc": f"The target: {self.target.name}."},
            {"name": "label_time", "type": _MICROS, "doc": "Event time of the label."},
            {
                "name": "feature_offset",
                "type": "long",
                "doc": "Offset of the features record, same partition.",
            },
            {"name": "label_offset", "type": "long", "doc": "Offset of the label, same partition."},
        ]
        return self._record("Example", self._identity() + self._feature_fields() + label)

    def topic(self, name: str) -> str:
        """Full name of one of the pipeline's topics, e.g. ``flights.features``."""
        return f"{self.name}.{name}"

    def _record(self, kind: str, fields: list[dict[str, Any]]) -> Schema:
        word = "".join(part.capitalize() for part in re.split(r"[-_]", self.name))
        namespace = f"headrace.pipelines.{re.sub('[^A-Za-z0-9_]', '_', self.name)}"
        doc = f"{kind} of pipeline {self.name}."
        return {
            "type": "record",
            "name": f"{word}{kind}",
            "namespace": namespace,
            "doc": doc,
            "fields": fields,
        }

    def _identity(self) -> list[dict[str, Any]]:
        return [
            {"name": "id", "type": "string", "doc": f"The raw event's {self.id}."},
            {"name": "key", "type": "string", "doc": f"The raw event's {self.key}, the partition key."},
            {"name": "event_time", "type": _MICROS, "doc": f"The raw event's {self.event_time}."},
            {"name": "raw_offset", "type": "long", "doc": "Offset of the raw event, same partition."},
        ]

    def _feature_fields(self) -> list[dict[str, Any]]:
        return [
            {"name": name, **_added(avro_type_of(dtype, name), name in self.added), "doc": f"Feature {name}."}
            for name, dtype in self.feature_columns.items()
        ]


_MICROS = {"type": "long", "logicalType": "timestamp-micros"}


def _added(kind: Any, added: bool) -> dict[str, Any]:
    """The type of a feature, which records written before it was added do not have."""
    return {"type": ["null", kind], "default": None} if added else {"type": kind}


def _names(given: Sequence[str], what: str) -> tuple[str, ...]:
    if isinstance(given, str):
        raise SchemaError(f"{what}={given!r} is one word: give a tuple, ({given!r},)")
    return tuple(given)
