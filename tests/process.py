"""A child process as tests see it: what :class:`subprocess.Popen` and a forked worker have in common."""

from __future__ import annotations

from typing import Protocol


class Process(Protocol):
    """A child process: methods and exit codes are those of :class:`subprocess.Popen`."""

    @property
    def pid(self) -> int:
        """Process id; its own until its end was seen by :meth:`poll` or :meth:`wait`."""

    def poll(self) -> int | None:
        """The exit code, minus the number of the signal that ended it; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; gives the exit code. Raises subprocess.TimeoutExpired."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless its end was seen."""

    def terminate(self) -> None:
        """SIGTERM."""

    def kill(self) -> None:
        """SIGKILL."""
