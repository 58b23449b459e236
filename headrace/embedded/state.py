"""The state folder: whose it is, what headrace keeps in it, and that one stack at a time uses it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from headrace.config import KEYS, RUN, SECURE, STACK_FILE, STACK_KEY
from headrace.errors import StackError
from headrace.folders import private_folder
from headrace.keys import new_key

LOCK_FILE = "stack.lock"
NEEDED_BYTES = 256 << 20
CLAIM_S = 1.0


class StateFolder:
    """A folder with ``kafka/``, ``registry/`` and ``search/`` (data), ``logs/``, and ``stack.lock``; its owner's alone.

    The lock file marks the folder as headrace's and names the process that uses it; the lock itself
    goes with that process, however it ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.kafka = self.path / "kafka"
        self.registry = self.path / "registry"
        self.search = self.path / "search"
        self.logs = self.path / "logs"
        self.secure = self.path / SECURE
        self.ports = self.path / "ports.json"
        self.stack_file = self.path / STACK_FILE
        self.supervisor_log = self.logs / "supervisor.log"
        self._lock_file = self.path / LOCK_FILE
        self._lock: IO[str] | None = None

    def claim(self) -> None:
        """Take the folder for this process.

        Raises:
            StackError: a stack uses it, it is not headrace's, cannot be written, or its disk is full.
        """
        try:
            if not self.path.exists():
                private_folder(self.path)
            if not self._lock_file.exists() and any(self.path.iterdir()):
                raise StackError(
                    f"{self.path} is not empty and was not made by headrace: name another folder with --state"
                )
            lock = self._lock_file.open("a+")
            self._wait_for(lock)
            self._lock = lock
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            for folder in (self.path, self.kafka, self.registry, self.logs, *self._others()):
                private_folder(folder)
        except OSError as e:
            self.release()
            raise self.error(e) from e
        free = shutil.disk_usage(self.path).free
        if free < NEEDED_BYTES:
            self.release()
            raise StackError(f"no space left on the disk of {self.path}: {free >> 20} MB free, free some")

    def provide_key(self) -> None:
        """See that there is a key to sign models with: models of this stack are signed from the first on."""
        folder = self.path / KEYS
        if not (folder / f"{STACK_KEY}.pub").exists():
            (folder / f"{STACK_KEY}.pem").unlink(missing_ok=True)  # of a start that was cut short
            new_key(folder, STACK_KEY)

    def broker(self, node: int) -> Path:
        """Folder of one broker of a cluster, there from now on."""
        folder = self.kafka if node == 1 else self.path / f"kafka-{node}"
        private_folder(folder)
        return folder

    def release(self) -> None:
        """Let the folder go; nothing happens where it was not claimed."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def owner(self) -> int | None:
        """The process that uses the folder now, or None."""
        try:
            with self._lock_file.open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(lock.read() or 0) or None
        except (OSError, ValueError):
            pass
        return None

    def wipe(self) -> None:
        """Remove the data of all servers. Nothing else that lies in the folder is touched."""
        for folder in (self.kafka, self.registry, *self.path.glob("kafka-*")):
            shutil.rmtree(folder)
        if self.search.exists():
            shutil.rmtree(self.search)
        for folder in (self.kafka, self.registry):
            private_folder(folder)

    def publish(self, description: Mapping[str, object]) -> None:
        """Write ``stack.json`` whole or not at all."""
        scratch = self.stack_file.with_suffix(".new")
        scratch.write_text(json.dumps(description))
        scratch.replace(self.stack_file)

    def unpublish(self) -> None:
        """Remove ``stack.json``."""
        self.stack_file.unlink(missing_ok=True)

    def error(self, e: OSError) -> StackError:
        """What an error of the operating system means for who runs the stack."""
        if e.errno == errno.ENOSPC:
            return StackError(f"no space left on the disk of {self.path}: free some, then start again")
        return StackError(f"the state folder {self.path} cannot be used: {e.strerror or e}. Name another with --state")

    def _others(self) -> list[Path]:
        """The folders of earlier starts, which may have made them for all to enter."""
        named = (self.search, self.secure, self.path / KEYS, self.path / RUN)
        return [*(folder for folder in named if folder.exists()), *self.path.glob("kafka-*")]

    def _wait_for(self, lock: IO[str]) -> None:
        deadline = time.monotonic() + CLAIM_S  # a look at owner() may hold it for a moment
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    lock.seek(0)
                    pid = lock.read() or "unknown"
                    lock.close()
                    raise StackError(
                        f"a stack already runs in {self.path} (process {pid}): stop it with `headrace down`, "
                        "or name another folder with --state"
                    ) from None
                time.sleep(0.02)
