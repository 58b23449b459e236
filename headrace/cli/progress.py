"""The bar that shows how far a command that reads the log has come."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from headrace.audit.audit import Progress as Told


class Bar(Told):
    """A bar on standard error, where that is a terminal."""

    def __init__(self) -> None:
        columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        if self._bar.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        # Where it did not start, to stop it would still print an empty line.
        if self._bar.console.is_terminal:
            self._bar.stop()

    def begins(self, records: int) -> None:
        self._task = self._bar.add_task("reading", total=records)

    def advanced(self, records: int) -> None:
        if self._task is not None:
            self._bar.advance(self._task, records)
