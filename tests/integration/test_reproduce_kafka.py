"""A model trained by the stream and made again: from the topic, through ``mlflow run``, and from a frozen version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from headrace.cli import app
from headrace.config import Settings
from headrace.errors import HeadraceError
from headrace.governance.catalog import published
from headrace.governance.decisions import order_training
from headrace.testing.pipelines import REFERENCE, clicks
from tests.conftest import ROOT
from tests.integration.platform import Platform
from tests.waiting import wait_for


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("toy"), settings, tmp_path)


def command(platform: Platform, *args: str) -> tuple[int, Any]:
    """Exit code of a command on the pipeline, and the JSON it printed, or its one line."""
    there = platform.settings
    options = ["--kafka", there.bootstrap, "--registry", there.registry_url, "--state", str(there.state), "--json"]
    done = CliRunner().invoke(app, [*args[0].split(), REFERENCE, *args[1:], *options])
    if isinstance(done.exception, HeadraceError):
        return done.exception.exit_code, str(done.exception)
    return done.exit_code, json.loads(done.stdout)


def drop_examples(platform: Platform) -> None:
    """Have Kafka drop every example, as retention does."""
    name = platform.topics.topic("examples")
    mine = {k: v for k, v in platform.settings.kafka.items() if not k.startswith("session.")}
    admin = AdminClient({"bootstrap.servers": platform.settings.bootstrap, **mine})
    ends = {p: end for p, (_, end) in platform.log.bounds(name).items()}
    for future in admin.delete_records([KafkaPartition(name, p, end) for p, end in ends.items()]).values():
        future.result(20)


def test_a_model_comes_out_the_same_wherever_its_examples_are(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics, data = platform.topics, tmp_path / "data"
    monkeypatch.setattr("headrace.testing.pipelines.pipeline", topics.pipeline)
    with platform.running("preprocess-0", "join-0", "retrain-0"):
        platform.push(clicks(0, 400))
        platform.wait_rows("examples", 400)
        order_training(topics, "test", "")
        wait_for(lambda: published(topics), 120, "retrain to publish a model")
    [(model, (manifest, _))] = published(topics).items()
    assert manifest.lineage.records == 400
    assert [tree.count for tree in manifest.lineage.trees] != [0, 0, 0]

    code, said = command(platform, "reproduce", model[:10])
    assert (code, said["same"], said["again"]) == (0, True, model)
    assert said["source"] == topics.topic("examples")
    assert [step["name"] for step in said["steps"] if not step["same"]] == []

    again = ["--entry-point", "again", "-P", f"model={model[:10]}"]
    assert f"model {model}\n" in mlflow_run(platform, tmp_path, *again)

    code, said = command(platform, "data snapshot", "examples", "--data", str(data))
    assert (code, said["records"]) == (0, 400)
    drop_examples(platform)
    name = topics.topic("examples")
    code, line = command(platform, "reproduce", model[:10], "--data", str(tmp_path / "nothing"))
    assert code == 2
    assert "no longer holds offsets 0 to" in line
    assert f"and no version in {tmp_path / 'nothing'} does: name the folder of frozen versions with --data" in line
    assert line.startswith(name)
    code, said = command(platform, "reproduce", model[:10], "--data", str(data))
    assert (code, said["same"], said["again"]) == (0, True, model)
    assert said["source"].startswith("version ")


def mlflow_run(platform: Platform, folder: Path, *args: str) -> str:
    """Run the repository's MLproject here; gives what it printed."""
    there = platform.settings
    environment = os.environ | {
        "TOY_PIPELINE": platform.topics.pipeline.name,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "HEADRACE_STATE": str(there.state),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    parameters = {"pipeline": REFERENCE, "kafka": there.bootstrap, "registry": there.registry_url}
    given = [word for name, value in parameters.items() for word in ("-P", f"{name}={value}")]
    cmd = [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", *given, *args]
    done = subprocess.run(cmd, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout
