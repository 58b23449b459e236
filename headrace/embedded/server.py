"""One Java server as a child process: its log, its life, its death."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil

from headrace import launch
from headrace.errors import StackError

QUOTED_LINES = 15
STOP_S = 15.0
KILL_S = 5.0
# Settings of the caller's other Java programs are not meant for ours.
FOREIGN = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH", "QUARKUS_", "APICURIO_")
PORT_TAKEN = ("Address already in use", "in use by another process")
"""Signs in a log that another program listens on a port."""
HINTS = {
    "No space left on device": "no space left on the disk; free some, then start again",
    "OutOfMemoryError": "its heap is too small",
    "UnsupportedVersionException": "its data was written by a newer version; begin with no data (headrace up --fresh)",
    "all log dirs in": "its folder could no longer be written: look for the cause in its log (is the disk full?), mend "
    "it, then start again",
}


class PortTaken(StackError):
    """A server ended because another program listens on its port."""


class Server:
    """Runs in its own session, so that a terminal's Ctrl-C reaches only who owns it."""

    def __init__(self, name: str, cmd: list[str], folder: Path, log: Path) -> None:
        self.name = name
        self.log = log
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                launch.command(cmd),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id (and process group id)."""
        return self._process.pid

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raises:
        PortTaken: it has ended, as it found a port taken.
        StackError: it has ended; the message quotes the end of its log.
        """
        if not self.running():
            raise (PortTaken if self.lost_port() else StackError)(self._obituary())

    def lost_port(self) -> bool:
        """Whether it has ended because another program listens on a port of its."""
        if self.running():
            return False
        said = self.log.read_text(errors="replace")
        return any(sign in said for sign in PORT_TAKEN)

    def listens(self, port: int) -> bool:
        """Whether it is this server, not another program, that listens on a port."""
        try:
            process = psutil.Process(self.pid)
            family = [process, *process.children(recursive=True)]  # a launcher may stand before it
            found = (c for member in family for c in member.net_connections("tcp"))
            return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in found)
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:  # a hardened system tells nobody
            return self.running()

    def finish(self, timeout_s: float) -> None:
        """Wait for a program that ends by itself.

        Raises:
            StackError: it failed, or did not end in time.
        """
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise StackError(f"{self.name} did not end within {timeout_s:.0f} s; its log: {self.log}") from None
        finally:
            self.kill()
        if code != 0:
            raise StackError(self._obituary())

    def terminate(self) -> None:
        """Ask it to stop; does not wait."""
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ask it to stop, wait, and kill it where it does not."""
        self.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._signal(signal.SIGKILL)
        self._process.wait(KILL_S)

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-QUOTED_LINES:])

    def _signal(self, number: int) -> None:
        if self.running():
            os.killpg(self.pid, number)

    def _obituary(self) -> str:
        tail = self.tail()
        why = next((hint for sign, hint in HINTS.items() if sign in tail), "see the end of its log")
        if self.lost_port():
            why = "another program took its port before it could listen; start again"
        return f"{self.name} ended with code {self._process.returncode}: {why}\n{self.log}:\n{tail}"
