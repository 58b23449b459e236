"""The wheel in an empty environment, outside the checkout: a new project runs from events to predictions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and the folder in which its user works."""

    bin: Path
    folder: Path

    def run(self, *words: str, folder: Path | None = None, code: int = 0) -> str:
        """Run ``headrace``; gives what it printed."""
        done = subprocess.run(
            [self.bin / "headrace", *words],
            cwd=folder or self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout


def environment() -> dict[str, str]:
    """Ours without what points into the checkout."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HEADRACE", "VIRTUAL_ENV", "COVERAGE"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    cmd = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(out)]
    subprocess.run([*cmd, str(ROOT)], check=True, timeout=300)
    [made] = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment that held nothing, and the wheel with its extra ``platform``, at the versions of the lock."""
    folder = tmp_path_factory.mktemp("user")
    place = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, timeout=300)
    wanted = ["--quiet", "--constraint", str(ROOT / "requirements.txt"), f"headrace[platform] @ {wheel.as_uri()}"]
    uv = Path(sys.executable).parents[1] / "uv" / "bin" / "uv"
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    cmd = [str(uv), "pip", "install", "--python", str(place / "bin" / "python")] if uv.exists() else pip
    subprocess.run([*cmd, *wanted], check=True, timeout=900, cwd=folder, env=environment())
    return Installed(place / "bin", folder)


@pytest.fixture
def project(installed: Installed) -> Iterator[Path]:
    """A new project with Kafka and every processor running."""
    installed.run("new", "kiosk")
    folder = installed.folder / "kiosk"
    installed.run("up", folder=folder)
    try:
        installed.run("init", "kiosk", folder=folder)
        with (folder / "run.log").open("w") as log:
            cmd = [str(installed.bin / "headrace"), "run", "all", "kiosk"]
            supervisor = subprocess.Popen(cmd, cwd=folder, env=environment(), stderr=log)
        try:
            yield folder
        finally:
            supervisor.send_signal(signal.SIGTERM)
            try:
                assert supervisor.wait(60) == 0, (folder / "run.log").read_text()
            finally:
                supervisor.kill()
    finally:
        installed.run("down", folder=folder)


def test_a_wheel_brings_one_import_name_and_all_that_commands_need(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"headrace"}
    inside = {name.split("/")[1] for name in names if name.startswith("headrace/") and name.count("/") > 1}
    assert {"streams", "producers", "consumers", "jobs", "examples", "cli", "testing"} <= inside
    schemas = {Path(name).name for name in names if "/schema/avsc/" in name}
    assert schemas == {file.name for file in (ROOT / "schemas").glob("*.avsc")}
    assert {"headrace/py.typed", "headrace/project/template/pipeline.py.tmpl"} <= set(names)


def test_a_new_project_runs_from_events_to_predictions(installed: Installed, project: Path) -> None:
    def told(*words: str) -> Any:
        return json.loads(installed.run(*words, "--json", folder=project))

    def rows(topic: str) -> list[dict[str, Any]]:
        printed = installed.run("show", "kiosk", topic, "--last", "5", folder=project)
        return [json.loads(line) for line in printed.splitlines()]

    assert told("check", "kiosk", "events.csv", "--limit", "500")["ok"]
    assert "12,000 events pushed, 0 rows refused" in installed.run("push", "kiosk", "events.csv", folder=project)
    wait_for(lambda: len(rows("examples")) >= 5, 120, "examples")
    installed.run("models", "train", "kiosk", folder=project)

    def gated() -> str:
        models = told("models", "list", "kiosk")
        return models[0]["id"] if models and len(models[0]["gates"]) == 3 else ""

    model = wait_for(gated, 180, "a model that has been through its gates")
    installed.run("models", "approve", "kiosk", model[:12], "--yes", folder=project)
    wait_for(lambda: told("models", "list", "kiosk")[0]["state"] == "champion", 120, "the model to rule")
    wait_for(lambda: len(rows("predictions")) >= 5, 120, "predictions")

    worker = told("status")["supervised"][0]["workers"]["infer"]
    os.kill(worker["pid"], signal.SIGKILL)

    def back() -> bool:
        now = told("status")["supervised"][0]["workers"]
        others = {name for name, state in now.items() if name != "infer" and state["restarts"]}
        return now["infer"]["restarts"] == 1 and bool(now["infer"]["health"]) and not others

    wait_for(back, 120, "the worker to be started again, and no other")
    wait_for(lambda: "every promise was kept" in installed.run("audit", "kiosk", folder=project), 60, "the audit")
    assert told("verify", "kiosk")["ok"]


def test_every_command_of_the_wheel_says_what_it_does(installed: Installed) -> None:
    listed = installed.run("--help")
    commands = (
        "demo",
        "new",
        "check",
        "up",
        "init",
        "topics",
        "show",
        "push",
        "run",
        "watch",
        "models",
        "audit",
        "why",
    )
    assert [name for name in commands if name not in listed] == []
    for name in commands:
        assert "Usage: headrace" in installed.run(name, "--help")


def test_in_the_sdk_alone_a_command_says_what_to_install(installed: Installed, tmp_path: Path) -> None:
    """The same environment, with one package of an extra out of reach."""
    blocked = "import sys; sys.modules['psutil'] = None; from headrace.cli import main; main()"
    cmd = [str(installed.bin / "python"), "-c", blocked, "up", "--state", str(tmp_path)]
    done = subprocess.run(cmd, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "psutil" in done.stderr
    assert "pip install 'headrace[" in done.stderr
    assert "Traceback" not in done.stderr
