"""Fault points: the steps in the exactly-once loop where a test can end the process.

``HEADRACE_FAULT=after_write:3`` kills the process, as ``kill -9`` would, at the third pass of that point.
Without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
from typing import Literal

Point = Literal[
    "after_read", "after_begin", "after_write", "after_offsets", "after_commit", "after_tracked", "in_rebuild"
]
"""The steps, in order; ``after_tracked``: records whose offsets are asked are written, those that name them not yet;
``in_rebuild``: some of the state is back, and not yet all."""

_armed, _, _count = os.environ.get("HEADRACE_FAULT", "").partition(":")
_left = int(_count or 1)


def point(name: Point) -> None:
    """End the process here if this point is the armed one and has been passed often enough."""
    global _left
    if not _armed or name != _armed:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
