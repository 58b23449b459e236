"""A limit on the time that a user's function may take: one that never returns costs one record and no stream."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import IO

STUBBORN = 3
"""Limits after which a function that could not be interrupted ends the process."""


class OutOfTime(Exception):
    """A function did not return in time."""


_file: IO[str] | None = None


def dump_to(file: IO[str] | None) -> None:
    """Write where the threads of a process stand that hangs and ends to this file; None: to standard error."""
    global _file
    _file = file


def dump() -> None:
    """Write where the threads stand, to standard error and to the file of :func:`dump_to`."""
    for file in (sys.__stderr__ or sys.stderr, _file):
        if file is not None:
            faulthandler.dump_traceback(file)


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Raise :class:`OutOfTime` in the block when it takes longer than ``seconds``.

    Only Python code can be interrupted. Where a function hangs in compiled code, the process writes where it is to
    standard error, or to the file of :func:`dump_to`, and ends after three times the limit: whoever runs it starts it
    again. Does nothing outside the main thread, and where the system has no interval timers.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(signum: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"{what} did not return within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    # The process's own: what a notebook or a test puts in its place has no file descriptor.
    faulthandler.dump_traceback_later(STUBBORN * seconds, exit=True, file=_file or sys.__stderr__ or sys.stderr)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
