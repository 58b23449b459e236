"""The folder of one worker's segment files: its owner's alone, gone when the worker ends, and cleared away after one
that could not."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

from headrace.errors import StateError
from headrace.folders import private_folder

if sys.platform != "win32":
    import fcntl

log = logging.getLogger("headrace.state")

LOCK = "lock"
PRIVATE_FILE = 0o600
MEND = "Nothing is lost: the worker makes its state again from the log when it is started again"


class StateFolder:
    """A folder that is made when the first file is asked for.

    Each process has its own under ``root``, so that two workers never meet in one. A lock on a file in it, which the
    system lets go of when its process ends however that ends, tells whose owner is no more.

    Args:
        root: where it is made.
        name: what it begins with.
    """

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._name = name
        self._made: Path | None = None
        self._lock = -1
        self._files = 0

    def new_file(self) -> Path:
        """A path that no file has yet.

        Raises:
            StateError: the folder cannot be made.
        """
        if self._made is None:
            try:
                private_folder(self._root)
                clear(self._root)
                self._made = Path(tempfile.mkdtemp(prefix=f"{self._name}-", dir=self._root))
                self._lock = os.open(self._made / LOCK, os.O_CREAT | os.O_RDWR, PRIVATE_FILE)
                _locked(self._lock)
            except OSError as e:
                raise cannot("be made", self._root, e) from None
        self._files += 1
        return self._made / f"{self._files:08d}.segment"

    def close(self) -> None:
        """Remove the folder and what is in it."""
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)
            os.close(self._lock)
            self._made = None


def clear(root: Path) -> None:
    """Remove the folders under ``root`` whose processes have ended."""
    for folder in root.iterdir():
        try:
            lock = os.open(folder / LOCK, os.O_RDWR)
        except OSError:  # none of ours, or just being made
            continue
        try:
            if _locked(lock):
                log.info("removing %s, which a worker left that is no more", folder)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def cannot(what: str, where: Path, error: OSError) -> StateError:
    """What to say where the disk refuses."""
    mend = "see HEADRACE_WORKER_STATE__FOLDER and the rights on it"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        mend = (
            "make room there, name another folder (HEADRACE_WORKER_STATE__FOLDER), or allow more memory "
            "(HEADRACE_WORKER_STATE__MEMORY)"
        )
    elif error.errno == errno.EROFS:
        mend = "it is on a file system that is read-only: name another folder (HEADRACE_WORKER_STATE__FOLDER)"
    return StateError(f"the state on disk, {where}, cannot {what}: {error.strerror}. To go on: {mend}. {MEND}")


def damaged(where: Path, what: str) -> StateError:
    """What to say of a segment file that is not what was written."""
    return StateError(
        f"the state on disk is damaged: {where}: {what}. See to the disk, and that nobody else writes there. {MEND}"
    )


def _locked(lock: int) -> bool:
    """Take the lock; whether it was free. Where there are no such locks, it never is."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
