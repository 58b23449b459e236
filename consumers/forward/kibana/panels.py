"""What a panel shows, and the request that Kibana makes for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from headrace.consumers.forward.kibana.aggs import SORTED, Bucket, Json, Metric

SHOWN = 500
"""Rows of a saved search that Kibana asks for."""
TIME = "@time"


class Filter(NamedTuple):
    """Which documents a panel is of."""

    label: str
    query: Json
    fields: tuple[str, ...]


class View(NamedTuple):
    """What people look at.

    Attributes:
        start, stop: the time range, both ends in it.
        bar: the interval that Kibana picks for that range, e.g. ``1h``.
    """

    start: datetime
    stop: datetime
    bar: str


@dataclass(frozen=True)
class Chart:
    """Figures by buckets.

    Attributes:
        name: what it is called within the pipeline, in an id's letters.
        title: what people read.
        topics: whose documents it is of.
        kind: bars and lines have their first bucket along the axis, and a series for each of the others.
        metrics: the figures.
        buckets: outermost first.
        where: filters that all hold.
        line: height at which a line is drawn.
    """

    name: str
    title: str
    topics: tuple[str, ...]
    kind: Literal["histogram", "line", "table"]
    metrics: tuple[Metric, ...]
    buckets: tuple[Bucket, ...]
    where: tuple[Filter, ...] = ()
    line: float | None = None

    @property
    def ids(self) -> tuple[list[str], list[str]]:
        """Kibana's ids of the metrics and of the buckets: their keys in requests and answers."""
        first = len(self.metrics) + 1
        return [str(i + 1) for i in range(len(self.metrics))], [str(first + i) for i in range(len(self.buckets))]

    def request(self, view: View) -> Json:
        """The body of Kibana's search."""
        metric_ids, bucket_ids = self.ids
        asked = {i: m.asked() for i, m in zip(metric_ids, self.metrics, strict=True)}
        aggs: Json = {i: a for i, a in asked.items() if a is not None}
        for id_, bucket in reversed(list(zip(bucket_ids, self.buckets, strict=True))):
            aggs = {id_: {**bucket.asked(view.bar), **({"aggs": aggs} if aggs else {})}}
        return {"size": 0, "query": _query(self.where, view), "aggs": aggs}

    def needs(self) -> dict[str, frozenset[str]]:
        """Field -> the types it may have."""
        found: dict[str, frozenset[str]] = {TIME: frozenset({"date"})}
        for part in (*self.metrics, *self.buckets):
            found |= part.needs()
        return found | {f: SORTED for w in self.where for f in w.fields}


@dataclass(frozen=True)
class Rows:
    """Documents as a table, the latest first.

    Attributes:
        name: what it is called within the pipeline, in an id's letters.
        title: what people read.
        topics: whose documents it is of.
        columns: fields, beside the time.
        where: filters that all hold.
    """

    name: str
    title: str
    topics: tuple[str, ...]
    columns: tuple[str, ...]
    where: tuple[Filter, ...] = ()

    @property
    def sort(self) -> tuple[tuple[str, str], ...]:
        """Fields and directions; no two documents of a topic are equal in all of them."""
        return (TIME, "desc"), ("@topic", "asc"), ("@partition", "asc"), ("@offset", "desc")

    def request(self, view: View) -> Json:
        """The body of Kibana's search."""
        return {
            "size": SHOWN,
            "query": _query(self.where, view),
            "sort": [{field: {"order": order}} for field, order in self.sort],
            "fields": [{"field": TIME, "format": "strict_date_optional_time"}, *({"field": c} for c in self.columns)],
            "_source": False,
        }

    def needs(self) -> dict[str, frozenset[str]]:
        """Field -> the types it may have."""
        found = {f: SORTED for f, _ in self.sort}
        return {
            **dict.fromkeys(self.columns, SORTED | {"text"}),
            **found,
            **{f: SORTED for w in self.where for f in w.fields},
        }


Panel = Chart | Rows


def type_of(fields: Mapping[str, Any], path: str) -> str:
    """The type of a field in a mapping, by its dotted path; "" where there is none."""
    name, dot, rest = path.partition(".")
    if name not in fields:
        return ""
    return type_of(fields[name].get("properties", {}), rest) if dot else str(fields[name]["type"])


def _query(where: tuple[Filter, ...], view: View) -> Json:
    ends = {"gte": view.start.isoformat(), "lte": view.stop.isoformat(), "format": "strict_date_optional_time"}
    return {"bool": {"filter": [*(w.query for w in where), {"range": {TIME: ends}}]}}
