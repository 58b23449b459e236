"""Saved objects hold together, speak of fields that are there, and ask for what the requests ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from typer.testing import CliRunner

from headrace.cli import app
from headrace.consumers.forward.kibana.boards import boards, fields_of, panels
from headrace.consumers.forward.kibana.export import WIDTH, export, objects
from headrace.consumers.forward.kibana.objects import FORMS
from headrace.consumers.forward.kibana.panels import Chart, Rows, View, type_of
from headrace.consumers.forward.shape import Shape, shapes
from headrace.declare.drift import Drift
from headrace.declare.forward import Forward
from headrace.declare.pipeline import Pipeline
from headrace.examples.flights.pipeline import flights
from headrace.testing.pipelines import toy
from tests.conftest import ROOT

VIEW = View(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC), "1d")
PIPELINES = [flights, toy("p")]
PLAIN = {
    "integer": "number",
    "long": "number",
    "float": "number",
    "double": "number",
    "keyword": "string",
    "text": "string",
}
"""Type in the engine -> in Kibana, for which an index's integer and another's long are one."""


def shapes_of(pipeline: Pipeline) -> dict[str, Shape]:
    return shapes(pipeline, "s")


def references(made: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for one in made:
        for r in one["references"]:
            yield one["id"], r["type"], r["id"]


def named(value: Any) -> Iterator[str]:
    """Every name of a reference that an object's attributes ask for."""
    if isinstance(value, dict):
        for key, held in value.items():
            if key in ("indexRefName", "panelRefName"):
                yield held
            yield from named(held)
    elif isinstance(value, list):
        for held in value:
            yield from named(held)
    elif isinstance(value, str) and value.startswith(("{", "[")):
        yield from named(json.loads(value))


def test_the_export_in_the_repository_is_what_the_command_writes(tmp_path: Any) -> None:
    written = tmp_path / "flights.ndjson"
    done = CliRunner().invoke(app, ["search", "dashboards", "headrace.examples.flights.pipeline:flights", str(written)])
    assert done.exit_code == 0, done.output
    assert written.read_text() == export(flights)
    assert (ROOT / "deploy" / "kibana" / "flights.ndjson").read_text() == export(flights), (
        "write it anew: headrace search dashboards flights deploy/kibana/flights.ndjson"
    )


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda p: p.name)
def test_every_reference_resolves_and_no_id_is_given_twice(pipeline: Pipeline) -> None:
    made = objects(pipeline)
    ids = [one["id"] for one in made]
    assert sorted(set(ids)) == sorted(ids)
    kinds = {one["id"]: one["type"] for one in made}
    assert {(type_, id_) for _, type_, id_ in references(made)} <= {(kinds[i], i) for i in ids}
    for one in made:
        names = [r["name"] for r in one["references"]]
        assert sorted(set(names)) == sorted(names)
        short = {name.split(":")[-1] for name in names if not name.startswith("controlGroup_")}
        assert set(named(one["attributes"])) == short
        assert one["typeMigrationVersion"] == FORMS[one["type"]]
    assert set(ids) - {id_ for _, _, id_ in references(made)} == {o["id"] for o in made if o["type"] == "dashboard"}
    others = {one["id"] for p in PIPELINES if p is not pipeline for one in objects(p)}
    assert not set(ids) & others


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda p: p.name)
def test_every_field_is_in_the_index_with_a_type_that_serves(pipeline: Pipeline) -> None:
    there = shapes_of(pipeline)
    found = panels(boards(pipeline, there))
    for panel in found:
        for field, types in panel.needs().items():
            held = {type_of(there[topic].fields, field) for topic in panel.topics} - {""}
            assert held, (panel.name, field)
            assert held <= types, (panel.name, field)
            assert len({PLAIN.get(type_, type_) for type_ in held}) == 1, (panel.name, field)
    views = {
        one["attributes"]["title"]: one["attributes"] for one in objects(pipeline) if one["type"] == "index-pattern"
    }
    aliases = {shape.alias for shape in there.values()}
    assert {part for title in views for part in title.split(",")} == aliases
    assert {attributes["timeFieldName"] for attributes in views.values()} == {"@time"}


def test_a_visualization_asks_for_what_its_request_asks_for() -> None:
    saved = {one["id"]: one for one in objects(flights)}
    for panel in panels(boards(flights, shapes_of(flights))):
        attributes = saved[f"headrace-flights-{panel.name}"]["attributes"]
        request = panel.request(VIEW)
        filters = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])["filter"]
        assert [f["query"] for f in filters] == request["query"]["bool"]["filter"][:-1]
        assert [json.loads(f["meta"]["value"]) for f in filters] == [f["query"] for f in filters]
        if isinstance(panel, Rows):
            assert attributes["sort"] == [[f, o["order"]] for asked in request["sort"] for f, o in asked.items()]
            assert attributes["columns"] == [asked["field"] for asked in request["fields"][1:]]
            continue
        state = json.loads(attributes["visState"])
        metrics = [agg for agg in state["aggs"] if agg["schema"] == "metric"]
        level = request["aggs"]
        for bucket in (agg for agg in state["aggs"] if agg["schema"] != "metric"):
            assert list(level) == [bucket["id"]]
            asked = level[bucket["id"]]
            assert asked[bucket["type"]]["field"] == bucket["params"]["field"]
            for name in ("size", "interval"):
                if name in asked[bucket["type"]]:
                    assert asked[bucket["type"]][name] == bucket["params"][name]
            level = asked.get("aggs", {})
        assert list(level) == [agg["id"] for agg in metrics if agg["type"] != "count"]
        for agg in (agg for agg in metrics if agg["type"] != "count"):
            (asked,) = level[agg["id"]].items()
            assert asked[0] == agg["type"]
            assert agg["params"]["field"] in json.dumps(asked[1])


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda p: p.name)
def test_panels_lie_side_by_side_on_the_grid(pipeline: Pipeline) -> None:
    for one in objects(pipeline):
        if one["type"] != "dashboard":
            continue
        grids = [panel["gridData"] for panel in json.loads(one["attributes"]["panelsJSON"])]
        assert {grid["y"] + grid["h"] for grid in grids} >= {grid["y"] for grid in grids} - {0}
        for left, right in pairwise(sorted(grids, key=lambda g: (g["y"], g["x"]))):
            beside = left["y"] == right["y"]
            assert right["x"] == (left["x"] + left["w"] if beside else 0)
            assert beside or left["x"] + left["w"] == WIDTH


def test_what_stays_behind_is_on_no_dashboard() -> None:
    rules = Forward(topics=("predictions", "dead"), drop=("predictions.route", "predictions.key", "dead.code"))
    pipeline = replace(flights, forward=rules)
    found = boards(pipeline, shapes_of(pipeline))
    assert {board.name: [[p.name for p in row] for row in board.rows] for board in found} == {
        "overview": [["by-model"], ["mean-score", "scores"], ["group-carrier", "group-origin"], ["latest"]],
        "model": [["mean-score"], ["scores"]],
        "dead": [["dead-by-stage"], ["dead"], ["retries"]],
        "lookup": [["lookup"]],
    }
    shown = {panel.name: panel for panel in panels(found)}
    latest, letters = shown["latest"], shown["dead"]
    assert isinstance(latest, Rows)
    assert isinstance(letters, Rows)
    assert latest.columns == ("id", "model_id", "outputs", "partition", "offset", "marker_offset")
    assert letters.columns == ("stage", "reason", "topic", "partition", "offset", "@partition", "@offset")
    assert shown["lookup"].topics == ("predictions", "dead")
    text = export(pipeline)
    assert not {f"flights-{topic}" for topic in ("outcomes", "metrics", "decisions")} & set(text.split('"'))
    there = shapes_of(pipeline)
    assert all(type_of(fields_of(panel, there), field) for panel in shown.values() for field in panel.needs())


@pytest.mark.parametrize(
    ("window", "interval"),
    [
        (timedelta(days=7), "168h"),
        (timedelta(days=1), "24h"),
        (timedelta(hours=1), "60m"),
        (timedelta(minutes=1), "60s"),
    ],
)
def test_each_window_has_a_bucket_of_its_own(window: timedelta, interval: str) -> None:
    """In no time zone and at no change of clocks does it follow the calendar."""
    pipeline = replace(flights, drift=Drift(window=window))
    (psi,) = (p for p in panels(boards(pipeline, shapes_of(pipeline))) if p.name == "psi")
    assert isinstance(psi, Chart)
    asked = psi.request(VIEW)["aggs"]["2"]["date_histogram"]
    assert asked == {"field": "window_end", "fixed_interval": interval, "time_zone": "UTC", "min_doc_count": 1}
