"""Start a command that cannot outlive the process that asked for it.

Run as a script with the standard library alone, so that it costs a child some 20 ms and nothing of headrace.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
WATCH_S = 0.2


def command(cmd: list[str]) -> list[str]:
    """``cmd`` so wrapped that it is killed when the calling process ends, however that ends.

    On Linux the kernel does it, and the process started is ``cmd`` itself; it fires when the *thread*
    that starts it ends, so start it from one that lives long enough. Elsewhere the launcher stays as
    the parent of ``cmd`` and watches.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), "--", *cmd]


def become(parent: int, cmd: list[str]) -> None:
    """Turn into ``cmd``, which the kernel kills when ``parent`` ends. Returns only where it already has."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:  # else it ended before the kernel was told
        os.execvp(cmd[0], cmd)


def watch(parent: int, cmd: list[str]) -> int:
    """Run ``cmd`` as a child, kill it when ``parent`` ends, and give its exit code."""
    child = subprocess.Popen(cmd)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while os.getppid() == parent:
        try:
            return child.wait(WATCH_S)
        except subprocess.TimeoutExpired:
            continue
    child.kill()
    return child.wait()


def main(argv: list[str]) -> int:
    """``launch.py PARENT_PID -- COMMAND ...``"""
    parent, cmd = int(argv[1]), argv[3:]
    if sys.platform != "linux":
        return watch(parent, cmd)
    become(parent, cmd)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
