"""Waiting for a condition with a deadline: the only place in the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.02
PATIENCE = 3.0
"""How much longer than on an idle machine of today anything may take."""


def wait_for(condition: Callable[[], T], deadline_s: float, what: str) -> T:
    """Ask ``condition`` until it holds, and give what it gave.

    Raises:
        AssertionError: it did not hold within ``deadline_s`` seconds, those of an idle machine; the message says
            ``what`` was waited for.
    """
    limit_s = PATIENCE * deadline_s
    deadline = time.monotonic() + limit_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {limit_s:g} s: {what}"
        time.sleep(POLL_S)
    return answer
