"""The per-user cache of downloaded parts: what is in it, and which files were checked already."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headrace.embedded.parts import Part
from headrace.errors import DownloadError


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/headrace``, or ``~/.cache/headrace``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "headrace"


class Cache:
    """Files that are whole and match their digests. A file is hashed once, then known by size and mtime.

    Only a file that was checked gets its name in ``jars/``; what is still arriving lies in ``partial/``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.partial = root / "partial"
        self._checked_file = root / "checked.json"

    def path(self, part: Part) -> Path:
        """Where ``part`` is kept, whether it is there or not."""
        return self.root / part.path

    def unpacked(self, part: Part) -> Path:
        """Where the archive ``part`` is unpacked, whether it was or not."""
        return self.root / "unpacked" / f"{part.artifact}-{part.version}-{part.sha256[:12]}"

    def missing(self, parts: list[Part]) -> list[Part]:
        """The parts that are not there whole. A file that changed since it was checked is hashed again."""
        checked = self._checked()
        absent, known = [], dict(checked)
        for part in parts:
            stamp = _stamp(self.path(part), part)
            if stamp is None:
                absent.append(part)
            elif checked.get(str(part.path)) != stamp:
                if sha256(self.path(part)) == part.sha256:
                    known[str(part.path)] = stamp
                else:
                    absent.append(part)
        if known != checked:
            self._remember(known)
        return absent

    def add(self, part: Part, arrived: Path) -> None:
        """Take in a downloaded file, if it is what its digest says.

        Raises:
            DownloadError: it is not; the file is deleted.
        """
        found = sha256(arrived)
        if found != part.sha256:
            arrived.unlink()
            raise DownloadError(
                f"{part.coordinate} is not what headrace was made with: SHA-256 {found}, "
                f"expected {part.sha256}. The file was deleted; check the network's proxy, then try again"
            )
        target = self.path(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        arrived.replace(target)

    def unpack(self, part: Part) -> Path:
        """Unpack the archive ``part`` (once, all or nothing), then drop the archive to save its room."""
        target = self.unpacked(part)
        if not target.exists():
            scratch = self.partial / target.name
            with tarfile.open(self.path(part)) as archive:
                archive.extractall(scratch, filter="data")
            target.parent.mkdir(exist_ok=True)
            scratch.rename(target)
        self.path(part).unlink(missing_ok=True)
        return target

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from downloading into this cache; what they left half done is removed.

        Raises:
            DownloadError: the folder cannot be written, or the disk is full.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                shutil.rmtree(self.partial, ignore_errors=True)
                self.partial.mkdir()
                try:
                    yield
                finally:
                    shutil.rmtree(self.partial, ignore_errors=True)
        except OSError as e:
            if e.errno == errno.ENOSPC:
                raise DownloadError(f"no space left on the disk of {self.root}; nothing half done is kept") from e
            raise DownloadError(
                f"the cache {self.root} cannot be written: {e.strerror}. Set XDG_CACHE_HOME to a folder of yours"
            ) from e

    def require_space(self, needed: int) -> None:
        """Raises:
        DownloadError: fewer than ``needed`` bytes are free.
        """
        free = shutil.disk_usage(self.root).free
        if free < needed:
            raise DownloadError(
                f"no space left on the disk of {self.root}: {needed >> 20} MB needed, {free >> 20} MB free. "
                "Free some, or set XDG_CACHE_HOME to another disk"
            )

    def _checked(self) -> dict[str, list[int]]:
        try:
            checked: dict[str, list[int]] = json.loads(self._checked_file.read_text())
        except (OSError, ValueError):
            return {}
        return checked

    def _remember(self, checked: dict[str, list[int]]) -> None:
        scratch = self._checked_file.with_suffix(f".{os.getpid()}")
        with suppress(OSError):  # a read-only cache works too: it only hashes again next time
            scratch.write_text(json.dumps(checked))
            scratch.replace(self._checked_file)


def sha256(path: Path) -> str:
    """Digest of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(path: Path, part: Part) -> list[int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns] if stat.st_size == part.size else None
