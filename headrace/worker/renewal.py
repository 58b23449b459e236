"""Certificates and keys that are renewed while a worker runs: librdkafka reads them once, when a client is made."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

log = logging.getLogger("headrace.worker.renewal")

LOOK_S = 5.0


def credential_files(properties: Mapping[str, str]) -> list[Path]:
    """The files that a client's properties name: certificates, keys, stores."""
    return [Path(value) for name, value in properties.items() if name.startswith("ssl.") and name.endswith(".location")]


class Renewal:
    """Looks at files from a thread, and tells once when one has changed and all can be read.

    Args:
        files: to look at.
        told: called when one has changed.
    """

    def __init__(self, files: Iterable[Path], told: Callable[[], object]) -> None:
        self._files = tuple(files)
        self._told = told
        self._ended = threading.Event()
        self._before = self._digests()
        self.seen = False
        """Whether one has changed."""

    def start(self) -> None:
        """Look from now on, where there are any files."""
        if self._files:
            threading.Thread(target=self._run, name="renewal", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            found = self._digests()
            if found is not None and found != self._before:
                log.info("a certificate or key was renewed: this worker goes on with new connections")
                self.seen = True
                self._told()
                return

    def _digests(self) -> list[str] | None:
        """A digest of each file; None while one is being replaced."""
        try:
            return [hashlib.sha256(file.read_bytes()).hexdigest() for file in self._files]
        except OSError:
            return None
