"""Signals that come two at once: whatever the first one's handler is at, the worker ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
STOPS = 500
HERE = '''
import os, signal, socketserver, threading, time
from headrace.kafka.memory import MemoryLog
from headrace.worker import service
from headrace.worker.loop import ExactlyOnceLoop, LoopConfig
from tests.toys import DEAD, PassThrough, dead_letter

forever = socketserver.BaseServer.serve_forever
socketserver.BaseServer.serve_forever = lambda self, poll_interval=0.5: forever(self, 0.001)
log = MemoryLog()
log.create_topics({name: (1, {}) for name in ("in", "out", DEAD)})
plain, armed, MAIN = threading.Condition.notify_all, [], threading.get_ident()


def notify_all(self):
    """A second signal, while the first one's handler sets an event: in life rare, here made sure of."""
    if armed and threading.get_ident() == MAIN:
        armed.clear()
        signal.raise_signal(signal.SIGTERM)
    plain(self)


threading.Condition.notify_all = notify_all
for i in range(STOPS):
    loop = ExactlyOnceLoop(log, PassThrough("in", "out"), LoopConfig("g", f"w{i}", idle_poll=0.001), dead_letter)

    def stop() -> None:
        while not loop.status.ready:
            time.sleep(0.0001)
        armed.append(1)
        os.kill(os.getpid(), (signal.SIGTERM, signal.SIGINT)[i % 2])
        os.kill(os.getpid(), (signal.SIGINT, signal.SIGTERM)[i // 2 % 2])

    threading.Thread(target=stop).start()
    service.run_service(loop, {}, "127.0.0.1", 0)
    armed.clear()
print("ended", STOPS)
'''


def test_a_worker_that_is_told_twice_at_once_to_end_does() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HERE.replace("STOPS", str(STOPS))], capture_output=True, text=True, timeout=240
    )
    assert (ended.returncode, ended.stdout.split()) == (0, ["ended", str(STOPS)]), ended.stderr[-2_000:]
