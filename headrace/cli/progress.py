"""A bar for long work: on standard error, where that is a terminal, and gone when it is done."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from headrace.progress import Progress


class Bar(Progress):
    """One bar at a time."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = RichProgress(*columns, console=Console(stderr=True), transient=True)
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        if self._bar.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        # Where it did not start, to stop it would still print an empty line.
        if self._bar.console.is_terminal:
            self._bar.stop()

    def begins(self, what: str, records: int) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=records)

    def advanced(self, records: int) -> None:
        if self._task is not None:
            self._bar.advance(self._task, records)
