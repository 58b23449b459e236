"""Aggregations of a panel: what Kibana keeps of each (``params``), and what it asks the engine for (``asked``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

Json = dict[str, Any]
AUTO = "auto"
"""Interval that Kibana picks by the time range people look at."""
NUMBERS = frozenset({"integer", "long", "float", "double"})
SORTED = NUMBERS | {"keyword", "date", "boolean"}
"""Types of fields whose values are told apart and put in order."""


@dataclass(frozen=True)
class Count:
    """How many documents. Kibana reads it off the bucket and asks for nothing."""

    label: str = "Count"
    type: ClassVar[str] = "count"

    def params(self) -> Json:
        return {"emptyAsNull": False, "customLabel": self.label}

    def asked(self) -> Json | None:
        return None

    def needs(self) -> dict[str, frozenset[str]]:
        """Field -> the types it may have."""
        return {}


@dataclass(frozen=True)
class Mean:
    """The mean of a field; of all the values where a document has several."""

    field: str
    label: str
    type: ClassVar[str] = "avg"

    def params(self) -> Json:
        return {"field": self.field, "customLabel": self.label}

    def asked(self) -> Json | None:
        return {"avg": {"field": self.field}}

    def needs(self) -> dict[str, frozenset[str]]:
        """Field -> the types it may have."""
        return {self.field: NUMBERS}


@dataclass(frozen=True)
class Latest:
    """The field in the document that stands last on the log: metrics have one partition, so that of the last version
    of a window."""

    field: str
    label: str
    type: ClassVar[str] = "top_hits"

    def params(self) -> Json:
        return {
            "field": self.field,
            "aggregate": "max",  # of one value
            "size": 1,
            "sortField": "@offset",
            "sortOrder": "desc",
            "customLabel": self.label,
        }

    def asked(self) -> Json | None:
        return {
            "top_hits": {
                "docvalue_fields": [{"field": self.field}],
                "_source": self.field,
                "size": 1,
                "sort": [{"@offset": {"order": "desc"}}],
            }
        }

    def needs(self) -> dict[str, frozenset[str]]:
        """Field -> the types it may have."""
        return {self.field: NUMBERS, "@offset": NUMBERS}


@dataclass(frozen=True)
class Over:
    """Spans of time. ``interval`` is one Kibana has a word for, as in ``168h``, or :data:`AUTO`."""

    field: str = "@time"
    interval: str = AUTO
    label: str = "Event time"
    type: ClassVar[str] = "date_histogram"

    def params(self) -> Json:
        return {
            "field": self.field,
            "interval": self.interval,
            "useNormalizedEsInterval": True,
            "scaleMetricValues": False,
            "drop_partials": False,
            "min_doc_count": 1,
            "extended_bounds": {},
            "customLabel": self.label,
        }

    def asked(self, bar: str) -> Json:
        """``bar`` is what :data:`AUTO` comes to."""
        interval = bar if self.interval == AUTO else self.interval
        # Kibana has the engine follow the calendar where it can: of each unit but the least, for one of it.
        kind = "calendar_interval" if re.fullmatch(r"1[mhdwMqy]", interval) else "fixed_interval"
        return {self.type: {"field": self.field, kind: interval, "time_zone": "UTC", "min_doc_count": 1}}

    def needs(self) -> dict[str, frozenset[str]]:
        """Field -> the types it may have."""
        return {self.field: frozenset({"date"})}


@dataclass(frozen=True)
class Terms:
    """One bucket for each value of a field, in the order of the values; or of the first metric, which is then a count,
    the most first."""

    field: str
    label: str
    size: int
    descending: bool = False
    most_first: bool = False
    type: ClassVar[str] = "terms"

    def params(self) -> Json:
        return {
            "field": self.field,
            "orderBy": "1" if self.most_first else "_key",
            "order": self._order,
            "size": self.size,
            "otherBucket": False,
            "otherBucketLabel": "Other",
            "missingBucket": False,
            "missingBucketLabel": "Missing",
            "customLabel": self.label,
        }

    def asked(self, bar: str) -> Json:
        by = "_count" if self.most_first else "_key"
        return {self.type: {"field": self.field, "order": {by: self._order}, "size": self.size}}

    def needs(self) -> dict[str, frozenset[str]]:
        """Field -> the types it may have."""
        return {self.field: SORTED}

    @property
    def _order(self) -> str:
        return "desc" if self.descending or self.most_first else "asc"


@dataclass(frozen=True)
class Steps:
    """Spans of a number, each as wide as ``width``."""

    field: str
    label: str
    width: float
    type: ClassVar[str] = "histogram"

    def params(self) -> Json:
        return {
            "field": self.field,
            "interval": self.width,
            "min_doc_count": False,
            "has_extended_bounds": False,
            "extended_bounds": {"min": "", "max": ""},
            "customLabel": self.label,
        }

    def asked(self, bar: str) -> Json:
        return {self.type: {"field": self.field, "interval": self.width, "min_doc_count": 1}}

    def needs(self) -> dict[str, frozenset[str]]:
        """Field -> the types it may have."""
        return {self.field: NUMBERS}


Metric = Count | Mean | Latest
Bucket = Over | Terms | Steps
