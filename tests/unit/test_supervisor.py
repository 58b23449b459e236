"""Workers under a supervisor: one that dies is started again, the others go on, and the status says so."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import ConfigError
from headrace.runner import supervisor as module
from headrace.runner.supervisor import Log, Worker, supervised, workers_of
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

DIES = "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"
SERVES = """
import json, time
print(json.dumps({"time": "2026-11-30 12:00:00,000", "level": "INFO", "worker": "w",
                  "message": "serving /health and /metrics on http://127.0.0.1:4711"}), flush=True)
time.sleep(600)
"""


def worker(name: str, script: str, out: io.StringIO) -> Worker:
    return Worker(name, name, [sys.executable, "-c", script], {}, Log(out, people=False))


def test_a_worker_that_ends_is_started_again_after_a_growing_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    out = io.StringIO()
    one = worker("join", DIES, out)

    def restarted() -> bool:
        one.turn()
        return one.state.restarts == 4

    wait_for(restarted, 30, "four ends")
    assert (one.state.state, one.state.exit_code, one.state.said) == ("waiting", 3, "no such thing")
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {line["worker"] for line in told} == {"join"}
    assert [line["message"] for line in told if "again" in line["message"]] == [
        f"ended with code 3; it is started again in {pause} s" for pause in ("0.01", "0.02", "0.04", "0.08")
    ]


def test_a_worker_that_was_killed_says_by_which_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    one = worker("infer", SERVES, out)
    one.turn()
    wait_for(lambda: one.state.health == "http://127.0.0.1:4711/health", 30, "its address")
    assert one.state.pid is not None
    os.kill(one.state.pid, signal.SIGKILL)

    def waits() -> bool:
        one.turn()
        return one.state.state == "waiting"

    wait_for(waits, 30, "its end")
    assert (one.state.exit_code, one.state.health) == (-9, "")
    assert "ended with signal 9; it is started again in 1 s" in out.getvalue()


RUN = """
import sys
from pathlib import Path
from headrace.runner.supervisor import Log, Supervisor, Worker, status_file
state = Path(sys.argv[1])
log = Log(sys.stderr, people=False)
scripts = {"join": sys.argv[2], "infer": sys.argv[3]}
workers = [Worker(n, n, [sys.executable, "-c", script], {}, log) for n, script in scripts.items()]
Supervisor("shop.py:shop", workers, status_file(state, "shop.py:shop")).run()
"""


def test_the_others_go_on_and_the_status_says_who_waits(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUN), str(tmp_path), DIES, SERVES], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
    reader.start()

    def settled() -> dict[str, Any] | None:
        found = supervised(tmp_path)
        workers = found[0]["workers"] if found else {}
        ok = bool(workers) and workers["join"]["restarts"] >= 2 and workers["infer"]["health"]
        return workers if ok else None

    workers = wait_for(settled, 60, "two restarts")
    assert workers is not None
    assert (workers["infer"]["state"], workers["infer"]["restarts"]) == ("running", 0)
    assert (workers["join"]["exit_code"], workers["join"]["said"]) == (3, "no such thing")
    serving = workers["infer"]["pid"]
    for _ in range(2):  # a second signal while the first is handled
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    reader.join(10)
    assert supervised(tmp_path) == []
    with pytest.raises(ProcessLookupError):
        os.kill(serving, 0)
    assert {json.loads(line)["worker"] for line in lines} == {"join", "infer"}


def test_every_pipeline_gets_what_it_needs_and_more_where_that_is_asked_for() -> None:
    needed = {"preprocess", "infer", "join", "retrain", "govern", "monitor"}
    assert workers_of([]) == dict.fromkeys(needed, 1)
    assert workers_of(["infer=3"], ["forward"]) == dict.fromkeys({*needed, "forward"}, 1) | {"infer": 3}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("infer", "--workers infer: give NAME=COUNT, e.g. infer=2"),
        ("infer=0", "give NAME=COUNT"),
        ("infer=-1", "give NAME=COUNT"),
        ("infer=²", "give NAME=COUNT"),
        ("monitor=2", "--workers monitor=2: monitor runs as one worker, for its state spans the partitions"),
        ("govern=2", "govern runs as one worker"),
        ("inferr=2", "no processor 'inferr'; there are: preprocess, infer, join"),
    ],
)
def test_a_wrong_count_of_workers_is_refused(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        workers_of([given])


def test_a_status_file_of_a_supervisor_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "shop.json").write_text(json.dumps({"pid": 2**22 + 1, "workers": {}}))
    (tmp_path / "run" / "half.json").write_text('{"pid": ')
    assert supervised(tmp_path) == []
