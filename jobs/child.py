"""Long work in a child process, while the loop goes on polling: one JSON spec in, one result folder out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from headrace.errors import HeadraceError, Unavailable
from headrace.launch import command

ERROR_FILE = "error.json"


LEAST_FREE = 1 << 20
"""Bytes without which a child cannot even say why it failed."""


class ChildError(HeadraceError):
    """A child process ended without a result; the message is its own, or the last lines it printed."""

    def __init__(self, message: str, kind: str, trace: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.trace = trace


class ChildJob:
    """One run of ``python -m module``: imports what it needs, then waits for its spec (JSON, standard input),
    and writes into a folder.

    The spec goes through a pipe, so that credentials in it show in no process list. The child ends with us.
    """

    def __init__(self, module: str) -> None:
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="headrace-"))
            self._output = (self.folder / "output.txt").open("w+")
        except OSError as e:
            raise Unavailable(f"{tempfile.gettempdir()} cannot be written ({e.strerror or e}): {module} waits") from e
        self._process = subprocess.Popen(
            command([sys.executable, "-m", module, str(self.folder)]),
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def give(self, spec: dict[str, Any]) -> None:
        """Hand over the spec: the work begins."""
        assert self._process.stdin is not None
        # A child that has died already is found out by done().
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(spec))
            self._process.stdin.close()

    def running(self) -> bool:
        """Whether the child still runs."""
        return self._process.poll() is None

    def done(self) -> bool:
        """Whether the child has ended well.

        Raises:
            ChildError: it ended badly.
        """
        code = self._process.poll()
        if code is None:
            return False
        if code == 0:
            return True
        with suppress(OSError, ValueError):  # it could not even say why
            said = json.loads((self.folder / ERROR_FILE).read_text())
            raise ChildError(said["message"], said["kind"], said["trace"])
        if shutil.disk_usage(self.folder).free < LEAST_FREE:
            raise ChildError(f"no space is left in {self.folder.parent}", "Unavailable", "")
        self._output.seek(0)
        tail = self._output.read()[-2000:]
        raise ChildError(f"the child process ended with code {code}", "ChildDied", tail)

    def close(self) -> None:
        """End the child if it still runs, and remove its folder."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._output.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class JobStarter:
    """Starts jobs of one module, keeping one child ready, its imports done, so that the next job begins at once."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._spare: ChildJob | None = None

    def warm(self) -> None:
        """Have a child ready."""
        if self._spare is None or not self._spare.running():
            self.close()
            self._spare = ChildJob(self._module)

    def start(self, spec: dict[str, Any]) -> ChildJob:
        """Begin a job."""
        self.warm()
        job, self._spare = self._spare, None
        assert job is not None
        job.give(spec)
        return job

    def close(self) -> None:
        """End the child that waits."""
        if self._spare is not None:
            self._spare.close()
            self._spare = None
