"""Which core does what: the broker and the client that is measured stand on different ones, where there are two."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

Cores = frozenset[int]


def available() -> list[int]:
    """Cores this process may use, in order; empty where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


ALL: Cores = frozenset(available())
CLIENT: Cores = frozenset(available()[-1:])
"""The one core of the process that is measured."""
BROKER: Cores = ALL - CLIENT or ALL
"""The rest: the broker, and what drives and watches the measurement."""


@contextmanager
def on(cores: Cores) -> Iterator[None]:
    """Processes started inside run on ``cores``; this one goes back to where it was."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin(pid: int, cores: Cores) -> None:
    """Move a running process, with every thread it has, to ``cores``."""
    if not cores:
        return
    for thread in psutil.Process(pid).threads():
        try:
            os.sched_setaffinity(thread.id, cores)
        except ProcessLookupError:
            continue  # the thread has ended since
