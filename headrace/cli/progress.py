"""A bar for long reading: on standard error, where that is a terminal, and gone when it is done."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Bar:
    """Told how much there is to read, and of every part that has been."""

    def __init__(self, what: str = "reading") -> None:
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        if self._bar.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar.console.is_terminal:
            self._bar.stop()

    def begins(self, records: int) -> None:
        """There are so many records to read."""
        self._task = self._bar.add_task("", total=records)

    def advanced(self, records: int) -> None:
        """So many records more have been read."""
        if self._task is not None:
            self._bar.advance(self._task, records)
