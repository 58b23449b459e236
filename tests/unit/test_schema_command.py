"""``headrace schema``: what it says, what it registers, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headrace.cli import app
from headrace.client import connect
from headrace.errors import SchemaError
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import RAW, toy
from headrace.topics.pipeline_topics import PipelineTopics

FIELDS: list[dict[str, Any]] = RAW["fields"]  # type: ignore[assignment]
WIDER = {**RAW, "fields": [*FIELDS, {"name": "via", "type": "string", "default": ""}]}
MILLIS = {
    **RAW,
    "fields": [
        {**f, "type": {"type": "long", "logicalType": "timestamp-millis"}} if f["name"] == "at" else f for f in FIELDS
    ],
}
OTHER = (
    "shop.raw: field at was timestamp-micros and is now timestamp-millis: readers that do not go by the writer's own "
    "type would read other values; add a field with a new name, or give --other-values"
)
Shell = Callable[..., Result]


@pytest.fixture
def topics() -> PipelineTopics:
    return in_memory(toy("shop"))


@pytest.fixture
def shell(topics: PipelineTopics, monkeypatch: pytest.MonkeyPatch) -> Shell:
    def run(*words: str, raw: dict[str, Any] = RAW) -> Result:
        declared = PipelineTopics(replace(topics.pipeline, raw=raw), topics.log, topics.registry)
        monkeypatch.setattr(connect, "open_topics", lambda *_: declared)
        return CliRunner().invoke(app, ["--kafka", "h:1", "--registry", "http://h", "schema", *words])

    return run


def test_nothing_is_to_be_done_where_all_is_registered(shell: Shell) -> None:
    for command in ("check", "evolve"):
        done = shell(command, "shop")
        assert (done.exit_code, done.stdout) == (0, "every schema is registered as it is declared\n")


def test_a_change_that_everybody_reads_is_taken_and_registered_when_asked(shell: Shell, topics: PipelineTopics) -> None:
    steps = [
        "1. register shop.raw-Click",
        "2. shop.raw: restart producer, ingest and preprocess with the new declaration, in any order",
    ]
    checked = shell("check", "shop", raw=WIDER)
    assert (checked.exit_code, checked.stdout.splitlines()[:2]) == (0, steps)
    assert shell("evolve", "shop", raw=WIDER).stdout.splitlines() == steps
    assert topics.registry.latest("shop.raw-Click") == RAW
    done = shell("evolve", "shop", "--yes", raw=WIDER)
    assert (done.exit_code, done.stdout.splitlines()) == (0, ["schemas registered", f"1{steps[1][1:]}"])
    assert topics.registry.latest("shop.raw-Click") == WIDER
    assert shell("evolve", "shop", "--yes", raw=WIDER).stdout == "every schema is registered as it is declared\n"


def test_a_change_of_unit_is_taken_only_where_it_is_accepted(shell: Shell, topics: PipelineTopics) -> None:
    checked = shell("check", "shop", raw=MILLIS)
    assert (checked.exit_code, checked.stdout) == (1, f"{OTHER}\n")
    refused = shell("evolve", "shop", "--yes", raw=MILLIS)
    assert isinstance(refused.exception, SchemaError)
    assert str(refused.exception) == f"nothing was registered: {OTHER}"
    assert topics.registry.latest("shop.raw-Click") == RAW
    assert shell("evolve", "shop", "--yes", "--other-values", raw=MILLIS).exit_code == 0
    assert topics.registry.latest("shop.raw-Click") == MILLIS


def test_a_schema_of_a_file_is_checked_in_place_of_the_declared_one(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "events.avsc"
    file.write_text(json.dumps({**RAW, "fields": [*FIELDS, {"name": "via", "type": "string"}]}))
    done = shell("check", "shop", "--raw", str(file), "--json")
    said = json.loads(done.stdout)
    why = "shop.raw: field via is new and has no default, so older records cannot be read: give it a default"
    assert (done.exit_code, said["taken"], said["steps"]) == (1, False, [why])
    missing = shell("check", "shop", "--raw", str(tmp_path / "none.avsc"))
    assert isinstance(missing.exception, SchemaError)
    assert str(missing.exception) == f"schema {tmp_path / 'none.avsc'}: No such file or directory"


def test_the_changes_are_shown_field_by_field(shell: Shell) -> None:
    found = json.loads(shell("diff", "shop", "--json", raw=MILLIS).stdout)
    assert [s["state"] for s in found] == ["changed", "registered", "registered"]
    assert found[0]["changes"] == [
        {
            "field": "at",
            "what": "values",
            "old": "timestamp-micros",
            "new": "timestamp-millis",
            "old_records": "",
            "new_records": "",
        }
    ]
    shown = shell("diff", "shop", raw=WIDER).stdout
    assert "shop.raw" in shown
    assert "added" in shown
