"""Children forked from a warm process: what they say, how they end, and that they end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from headrace import warm
from tests.children import fails, greets, lasts, refuses
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_a_child_works_and_what_it_says_is_kept(tmp_path: Path) -> None:
    children = [warm.started(greets, tmp_path / f"{name}.txt", name) for name in ("ann", "bob")]
    for child, name in zip(children, ("ann", "bob"), strict=True):
        assert child.wait(60)
        assert child.exitcode == 0
        assert (tmp_path / f"{name}.txt").read_text() == f"hello {name} from {child.pid}\n"


@pytest.mark.parametrize(("work", "code", "said"), [(fails, 1, "ValueError: no such thing"), (refuses, 3, "")])
def test_how_a_child_ended_is_told(tmp_path: Path, work: object, code: int, said: str) -> None:
    child = warm.started(work, tmp_path / "out.txt")  # type: ignore[arg-type]
    assert child.wait(60)
    assert (child.exitcode, warm.reason(code)) == (code, f"code {code}")
    assert (tmp_path / "out.txt").read_text().strip().endswith(said)


def test_a_child_can_be_killed(tmp_path: Path) -> None:
    child = warm.started(lasts, tmp_path / "out.txt", str(tmp_path / "pid"))
    wait_for(lambda: (tmp_path / "pid").exists(), 30, "the child")
    assert child.running()
    child.kill()
    assert (child.exitcode, warm.reason(child.exitcode or 0)) == (-9, "signal 9")


PARENT = """
import sys, time
from pathlib import Path
from headrace import warm
from tests.children import lasts
warm.started(lasts, Path(sys.argv[1]) / "out.txt", str(Path(sys.argv[1]) / "pid"))
time.sleep(600)
"""


def test_a_child_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT))
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    try:
        written = tmp_path / "pid"
        wait_for(lambda: written.exists() and written.read_text() != "", 60, "the child")
        pid = int(written.read_text())
        assert not ended(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait(30)
        wait_for(lambda: ended(pid), 30, "the child to end")
    finally:
        parent.kill()
        parent.wait()


def test_a_child_started_from_nothing_does_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "FORKS", False)
    children = [warm.started(greets, tmp_path / "0.txt", "ann"), warm.started(refuses, tmp_path / "1.txt")]
    assert [child.wait(60) for child in children] == [True, True]
    assert [child.exitcode for child in children] == [0, 3]
    assert (tmp_path / "0.txt").read_text() == f"hello ann from {children[0].pid}\n"


def test_after_the_nursery_was_killed_the_next_child_has_another(tmp_path: Path) -> None:
    child = warm.started(lasts, tmp_path / "out.txt", str(tmp_path / "pid"))
    nursery = warm._nursery
    assert nursery is not None
    nursery._process.kill()
    nursery._process.wait()
    wait_for(lambda: ended(child.pid), 30, "the child to end with it")
    assert not child.running()
    assert child.exitcode == -9
    again = warm.started(greets, tmp_path / "again.txt", "bob")
    assert again.wait(60)
    assert again.exitcode == 0
