"""Versions that git or DVC ignores: said before anything is written; and nothing is listed that was not kept."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.errors import ConfigError, DataError
from headrace.jobs.versions import dvc
from headrace.jobs.versions.folder import DataFolder
from headrace.jobs.versions.ignored import require_not_ignored
from headrace.jobs.versions.ranges import everything
from headrace.jobs.versions.snapshot import Snapshot, snapshot
from headrace.kafka.log import Output
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import clicks, toy

pytestmark = pytest.mark.slow


def run(where: Path, *command: str) -> None:
    subprocess.run(command, cwd=where, check=True, capture_output=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})


@pytest.fixture
def git(tmp_path: Path) -> Path:
    """A repository of git's that looks like one of DVC's too."""
    run(tmp_path, "git", "init", "-q")
    (tmp_path / ".dvc").mkdir()
    return tmp_path


def frozen(folder: DataFolder) -> Snapshot:
    topics = in_memory(toy("toy", 1))
    rows = clicks(0, 50, labelled=False)
    writer = topics.log.writer("test")
    writer.begin()
    writer.write(Output(topics.tp("raw"), [u.encode() for u in rows["user"]], topics.codec("raw").encode(rows)))
    writer.commit()
    return snapshot(topics, "raw", everything(topics.log, topics.topic("raw")), folder)


@pytest.mark.parametrize("pattern", ["data/", "data", "/data", "data/*", "data/**", "d*a/", "*.dvc", "data/**/*.dvc"])
@pytest.mark.parametrize("file", [".gitignore", ".git/info/exclude"])
def test_the_line_that_ignores_versions_is_named_and_what_to_write_there_mends_it(
    git: Path, pattern: str, file: str
) -> None:
    (git / file).write_text(f"# what nobody needs\n*.pyc\n{pattern}\n")
    place = git / "data" / "toy" / "raw"
    with pytest.raises(ConfigError) as caught:
        require_not_ignored(git, place)
    told = re.fullmatch(
        rf"line 3 of {re.escape(str(git / file))} \({re.escape(pattern)}\) makes git ignore {place}/\*\.dvc, which "
        r"stand for versions: (.+), or name another folder with --data\. Nothing was written",
        str(caught.value),
    )
    assert told is not None
    instead = re.findall(r"`([^`]+)`", told[1])
    assert (told[1] == "take the line away") == (instead == [])
    (git / file).write_text("\n".join(["*.pyc", *instead]) + "\n")
    require_not_ignored(git, place)


def test_a_rule_in_a_folder_below_is_found_too_and_one_that_lets_versions_through_is_none(git: Path) -> None:
    (git / "data").mkdir()
    (git / ".gitignore").write_text("data/**\n!data/**/\n!data/**/*.dvc\n")
    require_not_ignored(git, git / "data" / "toy" / "raw")
    (git / "data" / ".gitignore").write_text("toy/\n")
    with pytest.raises(ConfigError, match=rf"^line 1 of {git}/data/\.gitignore \(toy/\) makes git ignore"):
        require_not_ignored(git, git / "data" / "toy" / "raw")


def test_a_repository_of_dvcs_alone_does_not_ask_git(git: Path) -> None:
    (git / ".gitignore").write_text("data/\n")
    (git / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    require_not_ignored(git, git / "data" / "toy" / "raw")


def test_a_snapshot_into_an_ignored_folder_writes_nothing_and_goes_through_once_the_line_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, "git", "init", "-q")
    run(tmp_path, sys.executable, "-m", "dvc", "init", "-q")
    (tmp_path / ".gitignore").write_text("data/\n")
    monkeypatch.chdir(tmp_path)
    folder = DataFolder(Path("data"))
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"^line 1 of .*/\.gitignore \(data/\) makes git ignore data/toy/raw/"):
            frozen(folder)
        assert folder.versions("toy") == []
        assert not folder.path.exists()
    (tmp_path / ".gitignore").write_text("data/**\n!data/**/\n!data/**/*.dvc\n")
    (tmp_path / ".dvcignore").write_text("data/\n")
    with pytest.raises(ConfigError, match=r"^line 1 of .*/\.dvcignore \(data/\) makes DVC ignore data/toy/raw: take"):
        frozen(folder)
    assert not folder.path.exists()
    (tmp_path / ".dvcignore").write_text("")
    done = frozen(folder)
    assert [(v.name, v.state) for v in folder.versions("toy")] == [(done.folder.name, "local")]
    assert dvc.noted(dvc.tracked(done.folder)) == done.summary


def test_a_version_that_dvc_does_not_keep_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise DataError("dvc add failed")

    monkeypatch.setattr(dvc, "make_repository", lambda folder: None)
    monkeypatch.setattr(dvc, "add", refuses)
    folder = DataFolder(tmp_path / "data")
    with pytest.raises(DataError, match=r"^dvc add failed$"):
        frozen(folder)
    assert folder.versions("toy") == []
    assert [p for p in folder.path.rglob("*") if p.is_file() and p.name != ".lock"] == []


def test_the_folders_of_versions_are_their_owners_alone_and_earlier_ones_are_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dvc, "add", lambda *_: None)
    folder = DataFolder(tmp_path / "data")
    (folder.path / "toy").mkdir(parents=True, mode=0o755)
    done = frozen(folder)
    modes = {
        str(place.relative_to(tmp_path)): oct(stat.S_IMODE(place.stat().st_mode))
        for place in (folder.path / "toy", done.folder.parent, done.folder, folder.path / ".dvc")
    }
    name = done.folder.name
    assert modes == dict.fromkeys(["data/toy", "data/toy/raw", f"data/toy/raw/{name}", "data/.dvc"], oct(0o700))
