"""Alerts and dashboards ask for metrics that workers serve, under the names they have there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from headrace.kafka.log import TopicPartition
from headrace.worker.processor import Figure
from headrace.worker.service import StatusCollector
from headrace.worker.status import LoopStatus

DEPLOY = Path(__file__).parents[2] / "deploy"
LABELS = {"pipeline": "p", "processor": "infer", "worker": "w"}
OURS = re.compile(r"headrace_\w+")
LABEL = re.compile(r"by \(([^)]*)\)")


def rules() -> list[dict[str, Any]]:
    (group,) = YAML(typ="safe").load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def asked() -> Iterator[str]:
    """Every expression of the rules and of the dashboard."""
    yield from (rule["expr"] for rule in rules())
    board = json.loads((DEPLOY / "grafana" / "workers.json").read_text())
    yield from (target["expr"] for panel in board["panels"] for target in panel["targets"])


@pytest.fixture(scope="module")
def served() -> dict[str, set[str]]:
    """Sample name -> labels, of a worker to which everything has happened."""
    status, tp = LoopStatus(ready=True), TopicPartition("t", 0)
    status.records_in, status.records_out, status.dead = {"t": 1}, {"t": 1}, {"c": 1}
    status.positions, status.ends = {tp: 1}, {tp: 2}
    figures = [
        Figure("model_in_force", "", {"partition": "0", "model_id": "m"}, 1),
        Figure("swaps", "", {}, 1, counts=True),
        Figure("swap_wait_seconds", "", {}, 1),
    ]
    registry = CollectorRegistry()
    registry.register(StatusCollector(status, LABELS, lambda: figures))
    text = generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("expression", list(asked()))
def test_what_is_asked_for_is_served(expression: str, served: dict[str, set[str]]) -> None:
    names = set(OURS.findall(expression))
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert names <= served.keys()
    assert names or any(name in expression for name in recorded)
    for name in names:
        by = {label.strip() for labels in LABEL.findall(expression) for label in labels.split(",")}
        assert by <= served[name]


def test_an_alert_says_what_happened_and_what_to_do() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert {alert["labels"]["severity"] for alert in alerts} == {"warning"}
    assert all(set(alert["annotations"]) == {"summary", "description"} for alert in alerts)
    assert len({alert["alert"] for alert in alerts}) == len(alerts) == 6


def test_the_dashboards_panels_do_not_overlap() -> None:
    panels = json.loads((DEPLOY / "grafana" / "workers.json").read_text())["panels"]
    cells = [
        (x, y)
        for p in panels
        for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
        for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert len({p["id"] for p in panels}) == len(panels)
