"""How much of what a worker holds is in memory; the oldest of the rest is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headrace.state.folder import StateFolder
from headrace.state.keyed import KeyedRecords

MEMORY = 256 << 20
LEAST = 1 << 20
"""Bytes of a segment from which on it is worth a file."""


class Budget:
    """What the stores of one worker may take together.

    Args:
        memory: bytes.
        root: the folder in which the worker's own is made, once it is needed; None: all stays in memory.
        name: what the worker's folder begins with.
    """

    def __init__(self, memory: int = MEMORY, root: Path | None = None, name: str = "worker") -> None:
        self.memory = memory
        self._folder = None if root is None else StateFolder(root, name)
        self.stores: list[KeyedRecords] = []

    @property
    def held(self) -> int:
        """Bytes of memory that the stores take."""
        return sum(s.held for s in self.stores)

    @property
    def on_disk(self) -> int:
        """Bytes of theirs that are on disk."""
        return sum(s.records.on_disk for s in self.stores)

    def replace(self, stores: Sequence[KeyedRecords]) -> None:
        """Look after these stores, and let go of those before."""
        for store in self.stores:
            store.records.close()
        self.stores = list(stores)

    def settle(self) -> None:
        """Move the oldest segments of the largest stores to disk until the rest fits.

        Raises:
            StateError: the disk does not take them.
        """
        if self._folder is None:
            return
        while self.held > self.memory:
            movable = [
                (store.records.held, store)
                for store in self.stores
                if (oldest := store.records.oldest_in_memory()) is not None and oldest.size >= LEAST
            ]
            if not movable:
                return
            _, largest = max(movable, key=lambda found: found[0])
            largest.records.write_oldest(self._folder.new_file())

    def close(self) -> None:
        """Let go of everything, the folder too."""
        self.replace(())
        if self._folder is not None:
            self._folder.close()
