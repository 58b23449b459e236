"""``headrace push`` on a real Kafka: killed and given again, and what preprocess makes of the events."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.cli import app
from headrace.config import Settings
from headrace.errors import ConfigError
from headrace.schema.records import DeadLetter, FilePushed
from headrace.testing.pipelines import REFERENCE
from tests.integration.platform import Platform
from tests.process import Process
from tests.waiting import wait_for
from tests.zygote import started

HEAD = "kind,click_id,user,at,price,bought"
ROWS = 6_000


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("toy"), settings, tmp_path)


def clicks(path: Path, rows: int, bad: int = 1_000, day: str = "2024-03-01") -> Path:
    """A file of clicks; one in ``bad`` (0: none) has a price that is no number."""
    times = [f"{day}T{i // 3600:02}:{i // 60 % 60:02}:{i % 60:02}Z" for i in range(rows)]
    prices = ["dear" if bad and i % bad == 7 else i for i in range(rows)]
    lines = [f"seen,c{i},user{i % 7},{times[i]},{prices[i]}," for i in range(rows)]
    path.write_text("\n".join([HEAD, *lines]))
    return path


def environment(platform: Platform) -> dict[str, str]:
    return os.environ | {
        "TOY_PIPELINE": platform.topics.pipeline.name,
        "HEADRACE_BOOTSTRAP": platform.settings.bootstrap,
        "HEADRACE_REGISTRY_URL": platform.settings.registry_url,
        "HEADRACE_STATE": str(platform.settings.state),
    }


def pushing(platform: Platform, path: Path, *options: str) -> Process:
    """A push in a process of its own."""
    log = path.with_suffix(".log")
    return started("headrace", ["push", REFERENCE, str(path), *options], environment(platform), log)


def reached(platform: Platform) -> FilePushed | None:
    """How far the file has been pushed."""
    found = [r for _, r in platform.topics.read_control("pushes") if isinstance(r, FilePushed)]
    return found[-1] if found else None


def run(platform: Platform, *args: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["push", REFERENCE, *args], env=environment(platform))
    return done.exit_code, done.output


def test_a_push_that_is_killed_and_repeated_doubles_nothing_and_loses_nothing(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clicks(tmp_path / "clicks.csv", ROWS)
    for upto in (1, 1_500, 3_000):
        child = pushing(platform, path, "--rate", "2000")

        def got(upto: int = upto) -> bool:
            state = reached(platform)
            return state is not None and state.done > upto

        wait_for(got, 60, f"{upto} rows pushed")
        child.kill()
        child.wait(30)
    state = reached(platform)
    assert state is not None
    assert not state.finished
    monkeypatch.setattr("headrace.testing.pipelines.pipeline", platform.topics.pipeline)
    code, output = run(platform, str(path))
    assert code == 1
    assert "rows were pushed before and passed over" in output
    good = [i for i in range(ROWS) if i % 1_000 != 7]
    rows = platform.rows("raw")
    assert sorted(rows["click_id"], key=lambda i: int(i[1:])) == [f"c{i}" for i in good]
    assert all(part["o"].is_sorted() and part["at"].is_sorted() for _, part in rows.group_by("p"))
    letters = [r for _, r in platform.topics.read_control("dead") if isinstance(r, DeadLetter)]
    assert sorted(letter.offset for letter in letters) == [i * 1_000 + 9 for i in range(6)]
    code, output = run(platform, str(path))
    assert code == 0
    assert f"pushed before, {ROWS:,} rows: nothing to do; --again pushes it once more" in output
    assert platform.rows("raw").height == len(good)


def test_what_preprocess_refuses_is_told_by_those_who_wait(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.testing.pipelines.pipeline", platform.topics.pipeline)
    new = clicks(tmp_path / "new.csv", 100, bad=0, day="2024-03-02")
    old = clicks(tmp_path / "old.csv", 50, bad=0, day="2024-03-01")
    with platform.running("preprocess-0"):
        code, output = run(platform, str(new), "--wait", "60")
        assert (code, "preprocess has read them and refused none" in output) == (0, True)
        code, output = run(platform, str(old), "--wait", "60")
    assert code == 0
    assert "preprocess refused 50: too_late" in output


def test_files_are_looked_at_before_the_first_is_pushed(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.testing.pipelines.pipeline", platform.topics.pipeline)
    files = [str(clicks(tmp_path / "one.csv", 10)), str(tmp_path / "missing.csv")]
    done = CliRunner().invoke(app, ["push", REFERENCE, *files], env=environment(platform))
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).endswith("missing.csv: no such file")
    assert platform.rows("raw").height == 0
