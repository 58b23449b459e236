"""Long work in a child process, while the loop goes on polling: a spec in, a result folder out."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from headrace import warm
from headrace.errors import HeadraceError, Unavailable
from headrace.jobs.inside import ERROR_FILE, Work, inside

T = TypeVar("T")
CUT_SHORT = "the child process was ended"
LEAST_FREE = 1 << 20
"""Bytes without which a child cannot even say why it failed."""


class ChildError(HeadraceError):
    """A child process ended without a result; the message is its own, or the last lines it printed."""

    def __init__(self, message: str, kind: str, trace: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.trace = trace


class ChildJob:
    """One run of a job in a child process that ends with this one.

    Args:
        work: the job: (topics, spec, folder) -> results in the folder.
        spec: what it works on, and how it connects (see :func:`headrace.jobs.inside.spec_of`).
    """

    def __init__(self, work: Work, spec: dict[str, Any]) -> None:
        name = work.__module__
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="headrace-"))
            self._output = self.folder / "output.txt"
            self._output.touch()
            self._process = warm.started(inside, self._output, work.__module__, work.__name__, spec, str(self.folder))
        except OSError as e:
            raise Unavailable(f"{tempfile.gettempdir()} cannot be written ({e.strerror or e}): {name} waits") from e

    def running(self) -> bool:
        """Whether the child still runs."""
        return self._process.running()

    def done(self) -> bool:
        """Whether the child has ended well.

        Raises:
            ChildError: it ended badly.
        """
        if self._process.running():
            return False
        code = self._process.exitcode
        if code == 0:
            return True
        with suppress(OSError, ValueError):  # it could not even say why
            said = json.loads((self.folder / ERROR_FILE).read_text())
            raise ChildError(said["message"], said["kind"], said["trace"])
        if shutil.disk_usage(self.folder).free < LEAST_FREE:
            raise ChildError(f"no space is left in {self.folder.parent}", "Unavailable", "")
        tail = self._output.read_text(errors="replace")[-2000:]
        raise ChildError(f"the child process ended with {warm.reason(code or 0)}", "ChildDied", tail)

    def close(self) -> None:
        """End the child if it still runs, and remove its folder."""
        self._process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class ChildRun(Generic[T]):
    """One run of a job, and how its result is read.

    Args:
        job: the run.
        read: from the job's folder to what it wrote, or None while it has not.
    """

    def __init__(self, job: ChildJob, read: Callable[[Path], T | None]) -> None:
        self._job = job
        self._read = read
        self._given = False
        self._after: str | None = None

    def result(self) -> T | None:
        """What it wrote, or None while it has not; the child may do more after that.

        Raises:
            ChildError: the child ended without a result.
        """
        found = self._read(self._job.folder)
        if found is None and self._job.done():
            found = self._read(self._job.folder)  # written between the two looks
        self._given = self._given or found is not None
        return found

    def over(self) -> bool:
        """Whether the child has ended."""
        return not self._job.running()

    def afterwards(self) -> str | None:
        """Why the child ended badly after its result was read, empty where it did not; None while that is not known."""
        if self._after is None and self._given and self.over():
            try:
                self._job.done()
                self._after = ""
            except ChildError as e:
                self._after = str(e)
        return self._after

    def close(self) -> None:
        """End the child if it still runs; its result is gone after that."""
        if self.afterwards() is None:
            self._after = f"{CUT_SHORT} after its result" if self._given else ""
        self._job.close()


class ChildRunner(Generic[T]):
    """Starts jobs of one kind at once: what they import is imported beforehand.

    Args:
        work: the job.
        read: from its folder to what it wrote, or None while it has not.
        spec: what a child needs to connect as its parent does.
        needs: modules that it imports.
    """

    def __init__(
        self, work: Work, read: Callable[[Path], T | None], spec: dict[str, Any], needs: tuple[str, ...]
    ) -> None:
        self._work = work
        self._read = read
        self._spec = spec
        self._needs = needs
        self._begun: list[ChildRun[T]] = []

    def warm(self) -> None:
        """Be ready for the next job."""
        warm.warm(*self._needs)

    def start(self, asked: dict[str, Any]) -> ChildRun[T]:
        """Begin a job on what is asked.

        Raises:
            Unavailable: the disk cannot be written.
        """
        self.warm()
        self._begun.append(ChildRun(ChildJob(self._work, {**self._spec, **asked}), self._read))
        return self._begun[-1]

    def failures(self) -> list[str]:
        """What failed in jobs after their results were read, each told once."""
        known = {run: run.afterwards() for run in self._begun}
        self._begun = [run for run, after in known.items() if after is None]
        return [after for after in known.values() if after]
