"""What a user declares: one frozen object that every processor reads.

A pipeline names its raw schema, its key, id and event time, and two functions over Polars frames:
``features`` (events in log order -> one row per event to score) and ``labels`` (events in log order ->
the labels they reveal). Everything else has a default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl

from headrace.codec.types import avro_fields, avro_type_of, polars_schema
from headrace.errors import SchemaError

OFFSET = "offset"
"""Column of a raw frame that holds the record's offset; feature and label rows keep it to say where they came from."""

RESERVED = frozenset({"id", "key", "event_time", "raw_offset"})
"""Fields headrace itself puts in a features record."""

FrameFunction = Callable[[pl.DataFrame], pl.DataFrame]
Schema = dict[str, Any]
Mode = Literal["block", "advise"]


@dataclass(frozen=True)
class Binary:
    """A yes-or-no target: the label is 0 or 1, the model's output the probability of 1."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a trigger's examples become a model."""

    algorithms: tuple[Literal["logistic", "boosting"], ...] = ("logistic", "boosting")
    validation: timedelta = timedelta(days=10)
    """The newest span of the examples' event time, kept apart to choose the model and to judge it."""
    window: timedelta | None = None
    """Newest span of event time to learn from; None: all examples in the trigger's ranges."""
    every: timedelta | None = None
    """Schedule: a trigger each time event time has moved this far since the last one; None: no schedule."""
    minimum: int = 500
    """Fewest examples to train on."""
    seed: int = 7


@dataclass(frozen=True, kw_only=True)
class Drift:
    """When the monitor asks for a retraining. Spans are event time."""

    window: timedelta = timedelta(days=7)
    psi: float = 0.25
    """Population stability index of a feature above which a window has drifted (0.25: the usual 'major shift')."""
    ignore: tuple[str, ...] = ()
    """Features that move by nature (the day of the year) and are no sign of drift."""
    error_every: timedelta = timedelta(days=1)
    """The champion's error is watched as its mean over each such span, in every partition."""
    error_slack: float = 0.01
    """Page-Hinkley: rise of the mean error that is let pass."""
    error_threshold: float = 0.8
    """Page-Hinkley: sum of rises beyond the slack at which the error has drifted."""
    cooldown: timedelta = timedelta(days=21)
    """No second drift trigger within this span of the last trigger."""


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What a candidate is held to before a person sees it. A gate blocks, or only advises."""

    quality: Mode = "block"
    quality_margin: float = 0.01
    """How much worse than the champion's log loss on the same examples a candidate may be."""
    parity: Mode = "block"
    contract: Mode = "block"


FORWARDED = ("predictions", "outcomes", "metrics", "decisions", "dead")
"""Topics whose records can leave for a search engine."""


@dataclass(frozen=True, kw_only=True)
class Forward:
    """What of the log leaves for the search engine, and what of it stays behind.

    Fields are named by topic: ``outcomes.key``, ``predictions.features.carrier``; ``*.key`` is that of every topic that
    has one. What stays behind is still in the log.
    """

    topics: tuple[str, ...] = FORWARDED
    drop: tuple[str, ...] = ()
    """Fields that are left out."""
    hash: tuple[str, ...] = ()
    """Fields that a keyed hash (HMAC-SHA-256) stands in for: one word for one value, but which, nobody can say."""
    truncate: Mapping[str, int] = field(default_factory=dict)
    """String field -> how many of its characters leave."""
    period: Literal["day", "month", "all"] = "month"
    """Span of event time that an index holds; what is kept for so long is dropped by whole indices."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """An ML pipeline on Kafka, as its user declares it.

    Args:
        name: prefix of every topic: letters, digits, ``-`` and ``_``.
        raw: Avro record schema of the raw events (see :func:`schema`).
        key: field that keys every topic (its hash picks the partition, so it bounds what features can see).
        id: field that names one thing to score; joins, routing and people use it.
        event_time: field with the event's time, ``timestamp-micros`` or ``timestamp-millis``.
        features: raw rows of one partition in log order (all raw fields, and ``offset``) -> one row per event
            to score: ``offset`` of that event and the feature columns. Numbers and booleans are the model's
            input, in this order; strings are carried along for groups. It may look back over ``horizon``.
        labels: raw rows in log order -> one row per label: ``offset`` and ``label``; also ``id`` and
            ``label_time`` where they are not those of the row itself.
        target: what the label means.
        horizon: how far back in event time ``features`` looks.
        label_horizon: how long after the features a label may come.
        lateness: how far behind its partition's newest event an event may be and still be used.
        categorical: numeric features that are codes, not quantities.
        groups: string columns of the feature rows by which quality and fairness are split.
        partitions: partitions of each keyed topic.
    """

    name: str
    raw: Schema
    key: str
    id: str
    event_time: str
    features: FrameFunction
    labels: FrameFunction
    target: Binary
    horizon: timedelta
    label_horizon: timedelta = timedelta(days=7)
    lateness: timedelta = timedelta(hours=1)
    categorical: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    partitions: int = 4
    training: Training = field(default_factory=Training)
    drift: Drift = field(default_factory=Drift)
    gates: Gates = field(default_factory=Gates)
    forward: Forward = field(default_factory=Forward)
    times: tuple[datetime, datetime] = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    """Event times from the first to the last are taken for such; others are dead-lettered."""
    failure_limit: float = 0.5
    """Share of a batch's records on which user code may fail before the worker stops."""
    function_limit: timedelta = timedelta(seconds=30)
    """How long ``features`` or ``labels`` may take on a batch. It is then halved down to the records on which they do
    not return, which are dead-lettered; each part may take a third of that at least."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", self.name):
            raise SchemaError(f"pipeline name {self.name!r}: use letters, digits, - and _")
        fields = polars_schema(self.raw)
        for role in ("key", "id", "event_time"):
            if getattr(self, role) not in fields:
                raise SchemaError(
                    f"pipeline {self.name}: {role}={getattr(self, role)!r} is no field of {self.raw['name']}; "
                    f"it has {', '.join(fields)}"
                )
        if not isinstance(fields[self.event_time], pl.Datetime):
            raise SchemaError(f"pipeline {self.name}: {self.event_time} must be timestamp-micros or -millis")
        if elsewhere := set(self.forward.topics) - set(FORWARDED):
            raise SchemaError(
                f"pipeline {self.name}: {', '.join(sorted(elsewhere))} cannot be forwarded; "
                f"what can is {', '.join(FORWARDED)}"
            )
        unknown = {*self.categorical, *self.drift.ignore} - set(self.inputs)
        unknown |= set(self.groups) - set(self.feature_columns)
        if unknown:
            raise SchemaError(f"pipeline {self.name}: no such feature: {', '.join(sorted(unknown))}")

    @cached_property
    def feature_columns(self) -> dict[str, pl.DataType]:
        """Column name -> dtype of a feature row, found by calling ``features`` on an empty frame."""
        empty = pl.DataFrame(schema={**polars_schema(self.raw), OFFSET: pl.Int64()})
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
            {"name": name, "type": avro_type_of(dtype, name), "doc": f"Feature {name}."}
            for name, dtype in self.feature_columns.items()
        ]


_MICROS = {"type": "long", "logicalType": "timestamp-micros"}


def schema(file: str, *, beside: str | Path) -> Schema:
    """Read an Avro record schema from ``file`` in the folder of ``beside`` (give ``__file__``).

    Raises:
        SchemaError: the file is missing, is no JSON, or is no flat Avro record.
    """
    path = Path(beside).parent / file
    try:
        parsed: Schema = json.loads(path.read_text())
    except OSError as e:
        raise SchemaError(f"schema {path}: {e.strerror}") from None
    except json.JSONDecodeError as e:
        raise SchemaError(f"schema {path}: not JSON: {e}") from None
    avro_fields(parsed)
    return parsed
