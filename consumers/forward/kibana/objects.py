"""Panels as Kibana's saved objects: data views, saved searches, aggregation-based visualizations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from headrace.consumers.forward.kibana.aggs import Json
from headrace.consumers.forward.kibana.panels import TIME, Chart, Filter, Panel, Rows

Kind = Literal["index-pattern", "search", "visualization", "dashboard"]
CORE = "8.8.0"
"""The form that all of Kibana 8 from 8.8 on says its objects are in."""
FORMS: dict[Kind, str] = {
    "index-pattern": "8.0.0",
    "search": "8.0.0",
    "visualization": "8.5.0",
    "dashboard": "8.9.0",
}
"""The form each type is written in: the oldest that has all we need, for Kibana brings older ones up to its own and
refuses newer ones."""
SOURCE_INDEX = "kibanaSavedObjectMeta.searchSourceJSON.index"
KUERY = {"query": "", "language": "kuery"}


def saved(kind: Kind, id_: str, attributes: Json, references: Sequence[Json]) -> Json:
    """A saved object. Brought in again under its id, it takes the place of the one there."""
    return {
        "attributes": attributes,
        "coreMigrationVersion": CORE,
        "id": id_,
        "managed": False,
        "references": list(references),
        "type": kind,
        "typeMigrationVersion": FORMS[kind],
    }


def reference(kind: Kind, id_: str, name: str) -> Json:
    """Where an object speaks of another."""
    return {"id": id_, "name": name, "type": kind}


def text(value: Any) -> str:
    """JSON within JSON, as Kibana keeps it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def object_id(pipeline: str, name: str) -> str:
    """The id of a pipeline's object."""
    return f"headrace-{pipeline}-{name}"


def view_id(pipeline: str, topics: Sequence[str]) -> str:
    """The id of the data view of these topics."""
    return object_id(pipeline, f"view-{'-'.join(topics)}")


def data_view(pipeline: str, topics: Sequence[str]) -> Json:
    """A data view of one topic's documents, or of several'."""
    title = ",".join(f"{pipeline}-{topic}" for topic in topics)
    attributes = {
        "fieldAttrs": "{}",
        "fieldFormatMap": "{}",
        "fields": "[]",
        "name": title,
        "runtimeFieldMap": "{}",
        "sourceFilters": "[]",
        "timeFieldName": TIME,
        "title": title,
    }
    return saved("index-pattern", view_id(pipeline, topics), attributes, [])


def kind_of(panel: Panel) -> Kind:
    """What type of saved object a panel is."""
    return "search" if isinstance(panel, Rows) else "visualization"


def panel_object(pipeline: str, panel: Panel) -> Json:
    """A panel as a saved search or a visualization."""
    view = view_id(pipeline, panel.topics)
    source = {
        "query": KUERY,
        "filter": [_filter(i, w) for i, w in enumerate(panel.where)],
        "indexRefName": SOURCE_INDEX,
    }
    named = [SOURCE_INDEX, *(_filter_index(i) for i in range(len(panel.where)))]
    attributes = {
        "title": f"{pipeline}: {panel.title}",
        "description": "",
        "kibanaSavedObjectMeta": {"searchSourceJSON": text(source)},
        **(_search(panel) if isinstance(panel, Rows) else _visualization(panel)),
    }
    references = [reference("index-pattern", view, name) for name in named]
    return saved(kind_of(panel), object_id(pipeline, panel.name), attributes, references)


def _filter(place: int, where: Filter) -> Json:
    meta = {
        "alias": where.label,
        "disabled": False,
        "negate": False,
        "type": "custom",
        "key": "query",
        "value": text(where.query),
        "indexRefName": _filter_index(place),
    }
    return {"$state": {"store": "appState"}, "meta": meta, "query": where.query}


def _filter_index(place: int) -> str:
    return f"kibanaSavedObjectMeta.searchSourceJSON.filter[{place}].meta.index"


def _search(rows: Rows) -> Json:
    return {
        "columns": list(rows.columns),
        "sort": [list(pair) for pair in rows.sort],
        "grid": {},
        "hideChart": True,
        "isTextBasedQuery": False,
        "timeRestore": False,
    }


def _visualization(chart: Chart) -> Json:
    metric_ids, bucket_ids = chart.ids
    places = ["bucket"] * len(chart.buckets) if chart.kind == "table" else ["segment", *["group"] * len(chart.buckets)]
    aggs = [_agg(i, m.type, m.params(), "metric") for i, m in zip(metric_ids, chart.metrics, strict=True)]
    aggs += [
        _agg(i, b.type, b.params(), place)
        for i, b, place in zip(bucket_ids, chart.buckets, places[: len(chart.buckets)], strict=True)
    ]
    params = _table() if chart.kind == "table" else _axes(chart)
    state = {"title": chart.title, "type": chart.kind, "aggs": aggs, "params": params}
    return {"visState": text(state), "uiStateJSON": "{}", "version": 1}


def _agg(id_: str, type_: str, params: Json, place: str) -> Json:
    return {"id": id_, "enabled": True, "type": type_, "params": params, "schema": place}


def _table() -> Json:
    return {
        "perPage": 20,
        "showPartialRows": False,
        "showMetricsAtAllLevels": False,
        "showTotal": False,
        "totalFunc": "sum",
        "percentageCol": "",
        "showToolbar": True,
        "autoFitRowToContent": False,
    }


def _axes(chart: Chart) -> Json:
    bars = chart.kind == "histogram"
    series = [
        {
            "show": True,
            "type": chart.kind,
            "mode": "stacked" if bars else "normal",
            "data": {"label": metric.label, "id": id_},
            "valueAxis": "ValueAxis-1",
            "drawLinesBetweenPoints": True,
            "lineWidth": 2,
            "showCircles": True,
            "interpolate": "linear",
        }
        for id_, metric in zip(chart.ids[0], chart.metrics, strict=True)
    ]
    axis = {"show": True, "style": {}}
    labels = {"show": True, "filter": True, "truncate": 100}
    return {
        "type": chart.kind,
        "grid": {"categoryLines": False},
        "categoryAxes": [
            {
                **axis,
                "id": "CategoryAxis-1",
                "type": "category",
                "position": "bottom",
                "scale": {"type": "linear"},
                "labels": labels,
                "title": {},
            }
        ],
        "valueAxes": [
            {
                **axis,
                "id": "ValueAxis-1",
                "name": "LeftAxis-1",
                "type": "value",
                "position": "left",
                "scale": {"type": "linear", "mode": "normal"},
                "labels": {**labels, "filter": False, "rotate": 0},
                "title": {"text": chart.metrics[0].label if len(chart.metrics) == 1 else ""},
            }
        ],
        "seriesParams": series,
        "addTooltip": True,
        "detailedTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "legendSize": "auto",
        "truncateLegend": True,
        "maxLegendLines": 1,
        "times": [],
        "addTimeMarker": False,
        "labels": {"show": False},
        "radiusRatio": 9,
        "thresholdLine": {
            "show": chart.line is not None,
            "value": 10 if chart.line is None else chart.line,
            "width": 1,
            "style": "dashed",
            "color": "#E7664C",
        },
        "palette": {"type": "palette", "name": "default"},
        "isVislibVis": True,
        "fittingFunction": "linear",
    }
