"""A small file system of a test's own, which can be filled to the last byte and made read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

FILLER = "filler"


class Disk:
    """A file system in memory, mounted on ``folder``. Only root may have one: ask ``may_mount()``."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))

    def fill(self) -> None:
        """Write until there is no room for a byte more: how much is free is told in round numbers."""
        with (self.folder / FILLER).open("wb", buffering=0) as out, contextlib.suppress(OSError):
            while True:
                out.write(bytes(1 << 16))
        with (self.folder / FILLER).open("ab", buffering=0) as out, contextlib.suppress(OSError):
            while True:
                out.write(bytes(512))

    def free(self) -> None:
        """Give back what ``fill`` took."""
        (self.folder / FILLER).unlink()

    def read_only(self) -> None:
        """Let nothing be written any more. Nobody may have a file of it open for writing."""
        _mount("-o", "remount,ro", str(self.folder))

    def writable(self) -> None:
        """Let it be written again."""
        _mount("-o", "remount,rw", str(self.folder))

    @contextlib.contextmanager
    def covered(self) -> Iterator[None]:
        """Who opens the folder meanwhile finds an empty read-only one; files that are open stay as they are."""
        _mount("-t", "tmpfs", "-o", "ro", "tmpfs", str(self.folder))
        try:
            yield
        finally:
            _unmount(self.folder)

    def close(self) -> None:
        """Unmount it, whoever still uses it."""
        _unmount(self.folder)


@cache
def may_mount() -> bool:
    """Whether file systems may be mounted here."""
    if os.geteuid():
        return False
    with TemporaryDirectory() as folder:
        try:
            Disk(Path(folder), 1).close()
        except (OSError, subprocess.CalledProcessError):
            return False
    return True


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)
