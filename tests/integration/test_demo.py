"""The demo as a user runs it, cut to two months; and what the command line says of mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def headrace(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env=os.environ | environment,
    )


def test_two_months_of_flights_balance_to_the_record(tmp_path: Path) -> None:
    state, out = tmp_path / "state", tmp_path / "out"
    done = headrace("demo", "flights", "--months", "2", "--state", str(state), "--out", str(out))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads((out / "report.json").read_text())
    assert (report["account_ok"], report["damage_ok"]) == (True, True)
    assert report["dead_letters"] == 24
    flights = 51_955
    assert (report["features"], report["events"]) == (flights, 2 * flights + 19)
    assert [line["ok"] for line in report["account"]] == [True] * 4
    assert [m["trigger"] for m in report["models"]] == ["person"]
    assert set(report["models"][0]["markers"]) == {"0", "1", "2", "3"}
    assert [m["month"] for m in report["monthly"]] == [1, 2]
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 1
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert not (state / "stack.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("init", "nothing"), 2, "no pipeline named 'nothing'; headrace.toml here lists: flights"),
        (("init", "nowhere.py:x"), 2, "no pipeline file"),
        (("init", "json:dumps"), 2, "json:dumps is a function, not a Pipeline"),
        (("run", "juggle", "flights"), 2, "no processor 'juggle'; there are: preprocess, infer"),
        (("push", "flights", "no.csv"), 2, "no.csv: no such file"),
        (("init", "flights", "-X", "nonsense"), 2, "-X nonsense: give NAME=VALUE"),
        (("init", "flights", "-X", "no.such.property=1"), 2, 'No such configuration property: "no.such.property"'),
        (("demo", "moon"), 2, "no example 'moon'; there are: flights"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = headrace(*arguments, HEADRACE_BOOTSTRAP="127.0.0.1:1", HEADRACE_REGISTRY_URL="http://127.0.0.1:1")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code


def test_a_kafka_that_is_not_there_is_said_in_one_line() -> None:
    done = headrace("init", "flights", "--kafka", "127.0.0.1:1", "--registry", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "schema registry http://127.0.0.1:1 is away" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_stack_and_no_kafka_named_says_how_to_get_one(tmp_path: Path) -> None:
    done = headrace("init", "flights", "--state", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "start one with `headrace up`, or name yours with --kafka" in done.stderr


def test_a_wrong_setting_is_named() -> None:
    done = headrace("init", "flights", HEADRACE_REPLICATION_FACTOR="many")
    assert done.returncode == 2
    assert "setting 'replication_factor'" in done.stderr
