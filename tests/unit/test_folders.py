"""Folders that hold what events hold are their owner's alone, new ones and those of earlier versions."""

from __future__ import annotations

import io
import stat
import sys
from pathlib import Path

import pytest

from headrace.embedded.state import StateFolder
from headrace.folders import private_folder
from headrace.runner.supervisor import Log, Supervisor, Worker, status_file


def mode(place: Path) -> str:
    return oct(stat.S_IMODE(place.stat().st_mode))


def test_a_private_folder_is_made_with_its_missing_parents_and_none_that_exists_is_touched(tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir(mode=0o755)
    private_folder(outer / "a" / "b")
    assert [mode(p) for p in (outer, outer / "a", outer / "a" / "b")] == ["0o755", "0o700", "0o700"]
    outer.chmod(0o777)
    private_folder(outer)
    assert mode(outer) == "0o700"
    outer.chmod(0o500)  # less is right too
    private_folder(outer)
    assert mode(outer) == "0o500"


def test_a_folder_of_somebody_else_is_told_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(self: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    tmp_path.joinpath("theirs").mkdir(mode=0o755)
    private_folder(tmp_path / "theirs")
    assert caplog.messages == [
        f"{tmp_path / 'theirs'} can be entered by others (mode 755), and that cannot be changed: "
        "Operation not permitted"
    ]


def test_a_state_folder_is_its_owners_alone_and_one_of_an_earlier_version_is_put_right(tmp_path: Path) -> None:
    names = ("kafka", "kafka-2", "registry", "search", "logs", "keys", "secure", "run")
    path = tmp_path / "state"
    for name in names:
        (path / name).mkdir(parents=True)
    for place in (path, *path.iterdir()):
        place.chmod(0o755)
    (path / "stack.lock").touch()
    state = StateFolder(path)
    state.claim()
    state.release()
    assert {p.name: mode(p) for p in (path, *(path / n for n in names))} == dict.fromkeys(["state", *names], "0o700")


def test_a_new_state_folder_is_its_owners_alone_with_a_broker_and_after_a_wipe(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.claim()
    state.broker(2)
    state.wipe()
    state.release()
    made = {p.name: mode(p) for p in (state.path, *state.path.iterdir()) if p.is_dir()}
    assert made == dict.fromkeys(["state", "kafka", "registry", "logs"], "0o700")


def test_a_folder_that_is_not_headraces_keeps_its_mode(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "letters").touch()
    with pytest.raises(Exception, match="is not empty and was not made by headrace"):
        StateFolder(home).claim()
    assert mode(home) == "0o755"


def test_the_folder_of_status_files_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    worker = Worker("w", "w", [sys.executable], {}, Log(io.StringIO(), people=False))
    made = Supervisor("shop", [worker], status_file(tmp_path / "state", "shop"))

    def turn() -> None:
        seen.extend(mode(p) for p in (tmp_path / "state", tmp_path / "state" / "run"))
        made._stop(15, None)

    monkeypatch.setattr(worker, "turn", turn)
    monkeypatch.setattr("headrace.runner.supervisor.signal.signal", lambda *_: None)
    made.run()
    assert seen == ["0o700", "0o700"]
