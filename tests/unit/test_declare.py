"""How a user declares a pipeline, and how a command finds it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace as hr
from headrace.config import Settings
from headrace.declare.duration import duration
from headrace.declare.find import find_pipeline
from headrace.errors import ConfigError, SchemaError, UnknownPipeline
from headrace.testing.pipelines import RAW as TOY
from headrace.testing.pipelines import toy

RAW: dict[str, Any] = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "click_id", "type": "string"},
        {"name": "user", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "price", "type": "double"},
    ],
}
SHOP = """
import headrace as hr
from arithmetic import features, labels

shop = hr.Pipeline(
    "shop", raw="click.avsc", key="user", id="click_id", event_time="at",
    features=features, labels=labels, target=hr.Binary("bought"), horizon="10m", label_horizon="30d",
)
"""
ARITHMETIC = """
def features(events):
    return events.select("offset", "price")

def labels(events):
    return events.select("offset").clear()
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A folder with a pipeline, its schema, and a module beside it."""
    for name, text in {"shop.py": SHOP, "arithmetic.py": ARITHMETIC, "click.avsc": json.dumps(RAW)}.items():
        (tmp_path / name).write_text(text)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in ("shop", "arithmetic", "broken"):
            del sys.modules[name]


def declared(**changes: Any) -> hr.Pipeline:
    given: dict[str, Any] = {
        "raw": RAW,
        "key": "user",
        "id": "click_id",
        "event_time": "at",
        "features": lambda events: events.select("offset", "price"),
        "labels": lambda events: events.select("offset"),
        "target": hr.Binary("bought"),
        "horizon": timedelta(minutes=10),
    }
    return hr.Pipeline("shop", **(given | changes))


def test_what_is_public_is_what_a_pipeline_is_declared_with_and_the_front_door() -> None:
    assert set(hr.__all__) == {
        "Aggregate",
        "Aggregation",
        "Algebra",
        "Binary",
        "Client",
        "Count",
        "Distinct",
        "Drift",
        "EWMA",
        "First",
        "Forward",
        "Gates",
        "Lag",
        "Last",
        "Max",
        "Mean",
        "Min",
        "Mode",
        "Pipeline",
        "Quantile",
        "Ratio",
        "SinceLast",
        "Std",
        "Sum",
        "Training",
        "Var",
        "Window",
        "connect",
        "errors",
        "rolling_sums",
        "schema",
    }
    assert all(getattr(hr, name).__doc__ for name in hr.__all__)
    assert set(hr.__all__) <= set(dir(hr))
    with pytest.raises(AttributeError, match="module 'headrace' has no attribute 'Modell'"):
        hr.Modell  # noqa: B018


def test_spans_are_written_as_people_write_them() -> None:
    pipeline = declared(horizon="10m", label_horizon="30d", lateness="1.5h", function_limit="2s")
    spans = (pipeline.horizon, pipeline.label_horizon, pipeline.lateness, pipeline.function_limit)
    assert spans == (timedelta(minutes=10), timedelta(days=30), timedelta(hours=1.5), timedelta(seconds=2))


@given(st.integers(0, 10_000), st.sampled_from("smhdw"))
def test_a_number_and_a_unit_are_a_span(number: int, unit: str) -> None:
    seconds = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}[unit]
    assert duration(f"{number}{unit}", "x") == timedelta(seconds=number * seconds)


@pytest.mark.parametrize("wrong", ["", "10", "10 minutes", "-1m", "1e3s", "٣m", "m", 600, "1" + "0" * 40 + "w"])
def test_what_is_no_span_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"pipeline shop: horizon .*give a timedelta, or a span as in 45s"):
        declared(horizon=wrong)


def test_a_word_where_several_names_belong_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"groups='price' is one word: give a tuple, \('price',\)"):
        declared(groups="price")


def test_a_declaration_can_be_changed_and_stays_equal_to_itself() -> None:
    pipeline = declared()
    assert replace(pipeline) == pipeline
    assert replace(pipeline, partitions=7).partitions == 7


def test_a_pipeline_file_finds_its_schema_and_the_modules_beside_it(project: Path) -> None:
    reference = f"{project / 'shop.py'}:shop"
    pipeline = find_pipeline("shop", Settings(pipelines={"shop": reference}))
    assert (pipeline.name, pipeline.inputs) == ("shop", ("price",))
    assert find_pipeline(reference, Settings()) is pipeline


def test_a_module_of_the_working_folder_is_found(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert find_pipeline("shop:shop", Settings()).name == "shop"


def test_a_file_named_as_a_module_that_is_imported_already_is_refused(project: Path) -> None:
    (project / "json.py").write_text(SHOP)
    with pytest.raises(UnknownPipeline, match="another module is named json too; rename the file"):
        find_pipeline(f"{project / 'json.py'}:shop", Settings())


def test_a_file_that_fails_is_told_and_can_be_mended(project: Path) -> None:
    file = project / "broken.py"
    file.write_text("import nowhere_to_be_found")
    with pytest.raises(UnknownPipeline, match="cannot be imported: ModuleNotFoundError: No module named 'nowhere"):
        find_pipeline(f"{file}:shop", Settings())
    file.write_text(SHOP)
    assert find_pipeline(f"{file}:shop", Settings()).name == "shop"


def test_a_schema_that_is_not_there_is_told_with_its_path(project: Path) -> None:
    (project / "click.avsc").unlink()
    with pytest.raises(SchemaError, match=r"click\.avsc: No such file"):
        find_pipeline(f"{project / 'shop.py'}:shop", Settings())


def _timed(field: Any) -> dict[str, Any]:
    """The toy's raw schema with an event time of another type."""
    fields: list[dict[str, Any]] = TOY["fields"]  # type: ignore[assignment]
    return {**TOY, "fields": [{**f, "type": field} if f["name"] == "at" else f for f in fields]}


LONG = {"type": "long", "logicalType": "local-timestamp-micros"}


@pytest.mark.parametrize(
    ("field", "why"),
    [
        (LONG, "is a local-timestamp, which says no zone and so no moment"),
        ({**LONG, "logicalType": "local-timestamp-millis"}, "is a local-timestamp, which says no zone"),
        (["null", LONG], "is a local-timestamp, which says no zone"),
        ("long", "is Int64: declare it a long of logicalType timestamp-micros or -millis"),
        ("string", "is String: declare it a long"),
        ({"type": "int", "logicalType": "date"}, "is Date: declare it a long"),
        ({"type": "long", "logicalType": "time-micros"}, "is Time: declare it a long"),
    ],
)
def test_an_event_time_that_says_no_moment_is_refused_when_it_is_declared(field: Any, why: str) -> None:
    raw = _timed(field)
    with pytest.raises(ConfigError) as told:
        replace(toy("shop"), raw=raw)
    assert str(told.value).startswith(f"pipeline shop: event_time='at' of Click {why}")


@pytest.mark.parametrize("unit", ["micros", "millis"])
def test_an_event_time_of_moments_is_taken(unit: str) -> None:
    moment = {"type": "long", "logicalType": f"timestamp-{unit}"}
    assert replace(toy("shop"), raw=_timed(moment)).event_time == "at"
