"""A new project runs: its own tests pass, its functions keep their contract, and no name of it collides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.cli import app
from headrace.errors import ConfigError
from headrace.project.new import new_project

FILES = {
    ".github/workflows/test.yml",
    ".gitignore",
    "README.md",
    "event.avsc",
    "events.csv",
    "generate.py",
    "headrace.toml",
    "kiosk.py",
    "requirements.txt",
    "tests/test_kiosk.py",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects") / "kiosk"
    new_project("kiosk", folder)
    return folder


def test_a_project_holds_its_files_and_no_placeholder(project: Path) -> None:
    assert {str(f.relative_to(project)) for f in project.rglob("*") if f.is_file()} == FILES
    assert [f for f in project.rglob("*") if f.is_file() and "__NAME__" in f.read_text()] == []


@pytest.mark.slow
def test_its_own_tests_pass_and_its_functions_keep_their_contract(project: Path) -> None:
    for cmd in (["-m", "pytest", "-q"], ["-m", "headrace", "check", "kiosk", "events.csv", "--limit", "1000"]):
        done = subprocess.run([sys.executable, *cmd], cwd=project, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr


def test_generated_events_are_the_same_at_each_run(project: Path, tmp_path: Path) -> None:
    new_project("kiosk", tmp_path / "again")
    assert (tmp_path / "again" / "events.csv").read_bytes() == (project / "events.csv").read_bytes()


@pytest.mark.parametrize(
    "name", ["", "Kiosk", "1st", "a-b", "json", "class", "polars", "headrace", "generate", "ш", "a" * 51]
)
def test_a_name_that_would_not_work_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="project name"):
        new_project(name, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kiosk").mkdir()
    (tmp_path / "kiosk" / "notes.txt").write_text("mine")
    done = CliRunner().invoke(app, ["new", "kiosk"])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception) == "kiosk is not empty: name another folder with --folder, or empty it"
    assert [f.name for f in (tmp_path / "kiosk").iterdir()] == ["notes.txt"]
    with pytest.raises(ConfigError, match="is a file"):
        new_project("kiosk", tmp_path / "kiosk" / "notes.txt")


def test_an_empty_folder_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert {str(f) for f in new_project("kiosk", tmp_path / "empty")} == FILES
