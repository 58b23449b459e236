"""What commands show on a terminal of 80 and of 140 columns, and in a pipe.

Each screen is held against its file in tests/golden, with figures, ids and times left out. After a change that is
meant: GOLDEN=write python -m pytest tests/unit/test_screens.py, and look at the difference.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from headrace.cli import app
from headrace.cli.search_screen import rebuilt
from headrace.consumers.forward.rebuild import Rebuilt
from headrace.topics.pipeline_topics import PipelineTopics
from tests.unit.remembered import CLICKS, Remembered

GOLDEN = Path(__file__).parent.parent / "golden"
WIDTHS = (80, 140)
SCREENS = {
    "topics": ("topics", "shop"),
    "topics-counted": ("topics", "shop", "--count"),
    "models-list": ("models", "list", "shop"),
    "models-show": ("models", "show", "shop", "{champion}"),
    "models-show-rejected": ("models", "show", "shop", "{rejected}"),
    "dead-list": ("dead", "list", "shop"),
    "dead-show-bytes": ("dead", "show", "shop", "{undecodable}"),
    "dead-show-row": ("dead", "show", "shop", "{row}"),
    "data-list-empty": ("data", "list", "shop", "--data", "nowhere"),
    "verify": ("verify", "shop"),
    "why": ("why", "shop", "c7"),
    "audit": ("audit", "shop"),
    "watch": ("watch", "shop", "--once", "--every", "0.1"),
    "lag": ("lag", "shop"),
    "whatif": ("whatif", "shop", "{waiting}"),
}
CUT = {"watch"}
"""Screens on which the last column, which says why, may be cut."""


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Remembered:
    return Remembered(tmp_path_factory.mktemp("past"))


class Shell:
    """The command line on the pipeline in memory."""

    def __init__(self, past: Remembered) -> None:
        letters = {d["code"]: d["letter"] for d in json.loads(self._run(80, "dead", "list", "shop", "--json").stdout)}
        names = dict(zip(("champion", "waiting", "rejected"), past.models, strict=True))
        self._names = {**names, "undecodable": letters["undecodable"], "row": letters["bad_row"]}

    def __call__(self, width: int, *words: str) -> str:
        """What a command prints."""
        done = self._run(width, *(word.format(**self._names) for word in words))
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    def _run(self, width: int, *words: str) -> Result:
        there = ("--kafka", "memory:1", "--registry", "http://memory")
        environment = {"COLUMNS": str(width), "HEADRACE_UNSIGNED_MODELS": "accept"}
        return CliRunner().invoke(app, [*words, *there], env=environment)


@pytest.fixture
def shell(past: Remembered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    def opened(pipeline: str, settings: object, client_id: str) -> PipelineTopics:
        return past.topics

    monkeypatch.setattr("headrace.client.connect.open_topics", opened)
    monkeypatch.chdir(tmp_path)
    return Shell(past)


def shape(text: str) -> str:
    """A screen without its figures, ids, times and spaces."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    found = (re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b|\b[0-9a-f]{64}\b", "ID", line) for line in lines)
    return "\n".join(re.sub(r"[+-]?\d[\d.,:%]*(e-?\d+)?", "#", line) for line in found) + "\n"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_fits_its_terminal_and_has_the_shape_it_had(shell: Shell, screen: str, width: int) -> None:
    shown = shell(width, *SCREENS[screen])
    assert [line for line in shown.splitlines() if cell_len(line) > width] == []
    assert screen in CUT or "…" not in shown
    golden = GOLDEN / f"{screen}-{width}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(shape(shown))
    assert shape(shown) == golden.read_text()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_last_decisions_lose_neither_time_nor_kind_nor_model_nor_person(shell: Shell, width: int) -> None:
    shown = [" ".join(line.split()) for line in shell(width, *SCREENS["watch"]).splitlines()]
    model = json.loads(shell(width, "models", "list", "shop", "--json"))[0]["id"][:12]
    assert f"02-03 04:05:06 approved {model} ann looks good" in shown
    assert f"02-03 04:05:06 activated {model} approval" in shown


def test_nothing_is_to_come_where_every_record_was_read(shell: Shell) -> None:
    flows = json.loads(shell(80, *SCREENS["watch"], "--json"))["flows"]
    assert {f["processor"]: f["lag"] for f in flows if f["processor"] in ("preprocess", "infer", "join")} == {
        "preprocess": 0,
        "infer": 0,
        "join": 0,
    }


def test_lag_counts_records_and_not_the_markers_of_transactions(shell: Shell) -> None:
    groups = {g["processor"]: g for g in json.loads(shell(80, "lag", "shop", "--json"))}
    assert {name: groups[name]["records"] for name in ("preprocess", "infer", "join")} == {
        "preprocess": 0,
        "infer": 0,
        "join": 0,
    }
    assert all(group["counted"] for group in groups.values())


@pytest.mark.parametrize(
    "screen", ["topics", "models-list", "models-show", "dead-list", "dead-show-row", "verify", "why"]
)
def test_a_screen_is_also_json(shell: Shell, screen: str) -> None:
    assert json.loads(shell(80, *SCREENS[screen], "--json"))


def test_the_records_of_a_topic_are_one_object_a_line(shell: Shell) -> None:
    lines = [json.loads(line) for line in shell(80, "show", "shop", "raw", "--limit", "1000").splitlines()]
    assert len(lines) == 2 * CLICKS + 3
    good = [line for line in lines if "value" in line]
    assert {tuple(line) for line in good} == {("partition", "offset", "key", "type", "value")}
    assert {line["type"] for line in good} == {"raw"}
    assert {line["value"]["user"] for line in good if line["partition"] == lines[0]["partition"]} >= {lines[0]["key"]}
    errors = [line["error"].partition(":")[0] for line in lines if "error" in line]
    assert sorted(errors) == ["null_value", "undecodable", "wrong_magic"]


def test_the_last_records_of_each_partition_are_shown_and_others_from_an_offset(shell: Shell) -> None:
    every = [json.loads(line) for line in shell(80, "show", "shop", "features", "--limit", "1000").splitlines()]
    by_partition = {p: [line for line in every if line["partition"] == p] for p in range(3)}
    last = [json.loads(line) for line in shell(80, "show", "shop", "features", "--last", "2").splitlines()]
    assert last == [line for lines in by_partition.values() for line in lines[-2:]]
    words = ("show", "shop", "features", "--partition", "1", "--from", "5", "--limit", "3")
    assert [json.loads(line) for line in shell(80, *words).splitlines()] == [
        line for line in by_partition[1] if line["offset"] >= 5
    ][:3]


def test_a_rebuild_tells_documents_and_refusals() -> None:
    made = Rebuilt("predictions", 1234, ["mapper"] * 7, ["a", "b"], ["c"])
    assert list(rebuilt([made])) == [
        "predictions: 1,234 documents in 2 new indices; 1 old ones dropped",
        *["  refused: mapper"] * 5,
        "  and 2 more refused",
    ]
