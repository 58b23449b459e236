"""What a status means: whether a loop lives, whether records flow, what waits for what; an end for one that hangs."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from headrace.dead_share import too_many
from headrace.worker.status import LoopStatus
from headrace.worker.time_limit import dump

log = logging.getLogger("headrace.worker.health")

STALL_S = 900.0
"""Seconds after which a loop that does not go round is taken for hung: as long as its group lets it keep partitions."""
SLOW_S = 120.0
"""Seconds after which the log says where it stands."""
GRACE_S = 10.0
"""Seconds that records may wait before /health speaks of it: a swap, a start."""
STALLED = 70
"""Exit code of a process that was ended because its loop hung."""
TURN_S = 1.0


def stalled(status: LoopStatus, limit_s: float = STALL_S) -> str:
    """Why a loop does not live; empty: it does."""
    idle = time.monotonic() - status.turned
    if not status.turned or idle < limit_s:
        return ""
    return f"the loop has not gone round for {idle:.0f} s: a call hangs"


def not_ready(status: LoopStatus) -> str:
    """Why no record flows; empty: they do."""
    if status.paused:
        return status.paused
    if status.rebuilding is not None:
        done, size = status.rebuilding
        return f"its state is rebuilt: {done:,} of {size:,} offsets ({done / size:.0%})"
    if not status.ready:
        return "it has no partitions yet"
    waiting = dict(status.waiting)
    if waiting and waiting.keys() >= status.positions.keys():
        return next(iter(waiting.values())).why or "every partition waits"
    return ""


def health(status: LoopStatus) -> dict[str, Any]:
    """What /health says: ``starting``, ``rebuilding``, ``paused``, ``waiting``, ``stalled`` or ``ready``, and why;
    each partition that waits, for what and since when; and what share of the last records became dead letters."""
    records, dead = status.recent.dead()
    said: dict[str, Any] = {"status": "ready", "why": ""}
    now, waiting = time.monotonic(), sorted(dict(status.waiting).items())
    long = [(tp, w) for tp, w in waiting if now - w.since > GRACE_S]
    if why := stalled(status):
        said = {"status": "stalled", "why": why}
    elif status.paused:
        said = {"status": "paused", "why": status.paused}
    elif status.rebuilding is not None:
        said = {"status": "rebuilding", "why": not_ready(status)}
    elif not status.ready:
        said = {"status": "starting", "why": ""}
    elif long:
        said = {"status": "waiting", "why": f"{long[0][0]}: {long[0][1].why}"}
    elif too_many(sum(dead.values()), records):
        share, code = sum(dead.values()) / records, next(iter(dead))
        why = f"{share:.0%} of the last {records:,} records became dead letters, most of them {code}"
        said = {"status": "failing", "why": f"{why}: see `headrace dead list PIPELINE`"}
    if waiting:
        said["waiting"] = [
            {"partition": str(tp), "why": w.why, "seconds": round(now - w.since, 1)} for tp, w in waiting
        ]
    if dead:
        said["dead_letters"] = {"of_last": records, **dead}
    return said


class Watchdog:
    """Looks at a loop from a thread: says where one stands that does not go round, and ends the process in the end.

    Args:
        status: of the loop.
        limit_s: seconds after which it is taken for hung.
        end: ends the process.
    """

    def __init__(self, status: LoopStatus, limit_s: float, end: Callable[[int], object] = os._exit) -> None:
        self._status = status
        self._limit_s = limit_s
        self._end = end
        self._told = 0.0
        self._stopped = threading.Event()

    def start(self) -> None:
        """Look from now on."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def look(self) -> None:
        """Look once."""
        turned = self._status.turned
        if not turned:
            return
        idle = time.monotonic() - turned
        if idle > min(SLOW_S, self._limit_s) and self._told != turned:
            self._told = turned
            log.warning("the loop has not gone round for %.0f s; every thread stands here:", idle)
            faulthandler.dump_traceback(sys.__stderr__ or sys.stderr)
        if idle > self._limit_s:
            log.error("the loop has not gone round for %.0f s: a call hangs, and this process ends", idle)
            dump()
            self._end(STALLED)

    def _run(self) -> None:
        while not self._stopped.wait(TURN_S):
            self.look()
