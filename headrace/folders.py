"""Folders that are their owner's alone: brokers' data, logs and frozen versions hold what events hold."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

PRIVATE = 0o700
log = logging.getLogger("headrace.folders")


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, missing parents too. One that exists is put right.

    Raises:
        OSError: it cannot be made.
    """
    for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        missing.mkdir(mode=PRIVATE, exist_ok=True)
    folder.mkdir(mode=PRIVATE, exist_ok=True)  # which says it where a file is in the way
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & ~PRIVATE == 0:
        return
    try:
        folder.chmod(PRIVATE)
    except OSError as e:  # another's, who lets us write there
        log.warning("%s can be entered by others (mode %o), and that cannot be changed: %s", folder, mode, e.strerror)
