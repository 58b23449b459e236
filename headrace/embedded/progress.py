"""Show a download: one bar over all files on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from headrace.embedded.parts import Part

MB = 1_000_000


@contextmanager
def progress(console: Console, names: str, parts: list[Part], target: Path) -> Iterator[Callable[[int], None]]:
    """A function to call, from any thread, with each number of bytes that arrived."""
    total = sum(part.size for part in parts)
    what = f"{names} ({len(parts)} files, once)"
    if not console.is_terminal:
        console.print(f"downloading {what}: {total // MB} MB into {target}", soft_wrap=True, highlight=False)
        yield _quarters(console, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def _quarters(console: Console, total: int) -> Callable[[int], None]:
    lock = threading.Lock()
    done = told = 0

    def advance(count: int) -> None:
        nonlocal done, told
        with lock:
            done += count
            quarter = 4 * done // total
            if quarter > told:
                told = quarter
                console.print(f"downloaded {25 * quarter} %", highlight=False)

    return advance
