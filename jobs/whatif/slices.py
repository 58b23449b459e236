"""Both models over time, and for each value of each group."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from headrace.jobs.whatif.buckets import buckets
from headrace.jobs.whatif.figures import Comparison, compare
from headrace.jobs.whatif.rows import by

SHOWN = 20
"""Values of a group that are looked at one by one, the most frequent ones."""
NONE = "(none)"


@dataclass(frozen=True)
class Bucket:
    """Labelled rows of one span of event time, from ``start`` to before ``stop``.

    Attributes:
        rows: how many.
        seen: how many of them a model's training or validation had read.
        figures: None where there are no rows.
    """

    start: datetime
    stop: datetime
    rows: int
    seen: int
    figures: Comparison | None


@dataclass(frozen=True)
class OverTime:
    """``unit``: what the buckets are: month, week, day, or a span of equal length."""

    unit: str
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True)
class Value:
    """Rows with one value of a group."""

    value: str
    figures: Comparison


@dataclass(frozen=True)
class Group:
    """The most frequent values of a group, and how many others and rows of theirs are left out."""

    name: str
    values: tuple[Value, ...]
    others: int
    other_rows: int


def over_time(judged: pl.DataFrame) -> OverTime | None:
    """Both models in each span of event time; None for no rows."""
    if judged.is_empty():
        return None
    spans = buckets(judged["time"])
    places = spans.places(judged["time"])
    seen = (judged["seen"] | judged["known"]).to_numpy()
    found = []
    for i, (start, stop) in enumerate(zip(spans.edges, spans.edges[1:], strict=False)):
        inside = places == i
        figures = compare(judged.filter(pl.Series(inside)))
        found.append(Bucket(start, stop, int(inside.sum()), int(np.sum(seen & inside)), figures))
    return OverTime(spans.unit, tuple(found))


def by_group(judged: pl.DataFrame, group: str) -> Group:
    """Both models for each of the most frequent values of a group, the most frequent first."""
    column = by(group)
    values = judged.select(pl.col(column).cast(pl.String).alias("value"))
    counts = values.group_by("value").len().sort(["len", "value"], descending=[True, False], nulls_last=True)
    shown = []
    for value in counts["value"].head(SHOWN).to_list():
        figures = compare(judged.filter(values["value"].eq_missing(pl.lit(value, dtype=pl.String))))
        assert figures is not None, "a value that was counted has rows"
        shown.append(Value(NONE if value is None else value, figures))
    rest = counts.slice(SHOWN)
    return Group(group, tuple(shown), rest.height, int(rest["len"].sum()))
