"""The what-if report on a real Kafka: the toy's past under another model, and under the one that answered it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace.config import Settings
from headrace.models.metrics import binary_metrics
from headrace.models.score.session import ScoringModel
from headrace.testing.models import model_package
from headrace.testing.pipelines import REFERENCE, clicks
from tests.integration.platform import Platform
from tests.waiting import wait_for

CLICKS, LABELLED = 300, 240
TURNED_DOWN = 2
"""Exit code of a command that is wrong."""


class Past:
    """A toy pipeline's past: one model ruled, another was published and never approved."""

    def __init__(self, platform: Platform, champion: str, candidate: str) -> None:
        self.platform = platform
        self.champion = champion
        self.candidate = candidate

    def ask(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run ``headrace whatif`` as a person would."""
        settings = self.platform.settings
        environment = os.environ | {
            "TOY_PIPELINE": self.platform.topics.pipeline.name,
            "HEADRACE_BOOTSTRAP": settings.bootstrap,
            "HEADRACE_REGISTRY_URL": settings.registry_url,
            "HEADRACE_STATE": str(settings.state),
            "HEADRACE_UNSIGNED_MODELS": settings.unsigned_models,
            "COLUMNS": "100",
        }
        command = [sys.executable, "-m", "headrace", "whatif", REFERENCE, *options]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    def report(self, *options: str) -> dict[str, Any]:
        done = self.ask(*options, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture(scope="module")
def past(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Past:
    platform = Platform(f"whatif-{uuid.uuid4().hex[:8]}", settings, tmp_path_factory.mktemp("whatif"))
    with platform.running("preprocess-0", "infer-0", "join-0", "govern-0"):
        champion = platform.activate(1)
        platform.wait_ruling(champion)
        platform.push(clicks(0, LABELLED))
        platform.push(clicks(LABELLED, CLICKS - LABELLED, labelled=False))
        platform.wait_rows("predictions", CLICKS)
        platform.wait_rows("examples", LABELLED)

        def committed() -> bool:
            """What is on predictions was committed with what infer has consumed; the offsets show it at once."""
            done = platform.log.committed(f"{platform.topics.pipeline.name}.infer")
            last = platform.rows("features").group_by("p").agg(pl.col("o").max())
            return all(done.get(platform.topics.tp("features", p), 0) > o for p, o in last.iter_rows())

        wait_for(committed, 20, "infer to commit")
    return Past(platform, champion, platform.publish(2).model_id)


def test_the_report_is_what_the_topics_say(past: Past) -> None:
    report = past.report(past.candidate[:10])
    features = past.platform.rows("features")
    labels = past.platform.rows("examples").select("p", o="feature_offset", label="label")
    answers = past.platform.rows("predictions").select("p", o="offset", score=pl.col("outputs").list.first())
    rows = features.join(answers, on=["p", "o"]).join(labels, on=["p", "o"], how="left")
    x = rows.select(pl.col("price").cast(pl.Float32), pl.col("seen_10m").cast(pl.Float32)).to_numpy()
    model = ScoringModel(model_package(past.platform.topics.pipeline, 2))
    rows = rows.with_columns(pl.Series("candidate", model.score(np.ascontiguousarray(x))[:, 0]))
    judged = rows.drop_nulls("label")

    counts = report["counts"]
    assert {k: counts[k] for k in ("records", "answered", "unfit", "compared", "labelled", "judged")} == {
        "records": CLICKS,
        "answered": CLICKS,
        "unfit": 0,
        "compared": CLICKS,
        "labelled": LABELLED,
        "judged": LABELLED,
    }
    assert report["models"] == [{"model_id": past.champion, "records": CLICKS, "share": 1.0}]
    assert (report["basis"], report["overall"]["seen"], report["overall"]["known"]) == ("fresh", None, None)
    fresh = report["overall"]["fresh"]
    for name, column in (("production", "score"), ("candidate", "candidate")):
        y, p = (judged[c].to_numpy().astype(np.float64) for c in ("label", column))
        wanted = binary_metrics(y, p)
        assert fresh[name] == pytest.approx({k: wanted[k] for k in ("auc", "log_loss", "brier")})
    was, would = (pl.col(c).cast(pl.Float64) >= 0.5 for c in ("score", "candidate"))
    table = {k: report["flips"][k] for k in ("no_no", "no_yes", "yes_no", "yes_yes")}
    assert table == {
        "no_no": rows.filter(~was, ~would).height,
        "no_yes": rows.filter(~was, would).height,
        "yes_no": rows.filter(was, ~would).height,
        "yes_yes": rows.filter(was, would).height,
    }
    ends = {str(p): [0, o + 1] for p, o in features.group_by("p").agg(pl.col("o").max()).iter_rows()}
    assert {p: stop for p, (_, stop) in report["asked"]["ranges"].items()} == {p: s for p, (_, s) in ends.items()}
    assert sum(b["rows"] for b in report["over_time"]["buckets"]) == LABELLED


def test_the_model_that_answered_makes_no_difference_as_a_candidate(past: Past) -> None:
    report = past.report(past.champion)
    fresh = report["overall"]["fresh"]
    assert fresh["production"] == fresh["candidate"]
    assert fresh["margin"] == 0.0
    assert (report["flips"]["no_yes"], report["flips"]["yes_no"]) == (0, 0)
    assert (report["shift"]["largest"], report["extremes"]) == (0.0, {"worst": [], "best": []})
    assert report["verdict"] == "no clear difference"


def test_the_page_and_the_tables_are_written(past: Past, tmp_path: Path) -> None:
    done = past.ask(past.candidate, "--html", str(tmp_path / "page.html"))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page.html").read_text()
    assert text.count("<svg") == 4
    assert past.candidate in text
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert f"{CLICKS} answered, {LABELLED} labelled, 0 unfit for the candidate" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("nothing",), "no published model starts with 'nothing'; there are: "),
        (("{candidate}", "--from", "2098-01-01"), "infer has gone through no record of "),
    ],
)
def test_what_cannot_be_asked_is_one_line(past: Past, options: tuple[str, ...], said: str) -> None:
    done = past.ask(*(o.format(candidate=past.candidate) for o in options))
    assert (done.returncode, done.stdout) == (TURNED_DOWN, "")
    assert said in done.stderr.splitlines()[-1]
