"""What a command is busy with, on standard error: a bar or a spinner on a terminal, elsewhere a line after a while."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.progress import Progress

if TYPE_CHECKING:
    from rich.progress import TaskID

PATIENCE_S = 2.0
"""Seconds of silence after which a line says what is waited for, where there is no terminal."""


class _Line:
    """A plain line on standard error, written if nothing replaces or ends it in time."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def later(self, what: str) -> None:
        """Write ``what`` after a while."""
        self.end()
        self._timer = threading.Timer(PATIENCE_S, print, (f"{what} ...",), {"file": sys.stderr, "flush": True})
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Write nothing more; again does nothing."""
        if self._timer is not None:
            self._timer.cancel()


LINE = _Line()
"""The one line that waits to be written."""


class Bar(Progress):
    """One part of the work at a time; a part that ends has reached its total.

    Args:
        what: said until the first part begins.
    """

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._bar = RichProgress(*columns, console=Console(stderr=True), transient=True)
        self._task: TaskID | None = None
        self._total = 0
        self._what = what

    def __enter__(self) -> Bar:
        LINE.end()
        if self._bar.console.is_terminal:
            self._bar.start()
        self.begins(self._what, 0)
        return self

    def __exit__(self, *exc: object) -> None:
        self._ends()
        LINE.end()
        # Where it did not start, to stop it would still print an empty line.
        if self._bar.console.is_terminal:
            self._bar.stop()

    def begins(self, what: str, records: int) -> None:
        self._ends()
        self._total = records
        self._task = self._bar.add_task(what, total=records or None)
        if not self._bar.console.is_terminal:
            LINE.later(what)

    def advanced(self, records: int) -> None:
        if self._task is not None:
            self._bar.advance(self._task, records)

    def _ends(self) -> None:
        """Transaction markers are offsets that nobody reports: the part ends at its total all the same."""
        if self._task is None:
            return
        if self._total:
            self._bar.update(self._task, completed=self._total, refresh=self._bar.console.is_terminal)
        self._bar.remove_task(self._task)
        self._task = None


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say what is waited for while the block runs."""
    from rich.console import Console

    LINE.end()
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(what):
            yield
        return
    LINE.later(what)
    try:
        yield
    finally:
        LINE.end()
