"""Records on which a worker's process hung for good, so that those after it can narrow them down and leave one out.

A function that never returns and cannot be interrupted (compiled code) ends its process: see
:mod:`headrace.worker.time_limit` and :class:`headrace.worker.health.Watchdog`. Started again, the worker would take the
same batch and hang again, for ever. So a worker notes on disk what it has in hand, and the threads of a process that
hung are dumped into a file beside it: that file tells a hang from any other end. After two hangs in the same records
they are taken in smaller pieces, each noted, and a record on which alone a process hung twice becomes a dead letter.

The notes are a host's own: another host finds the record out for itself.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from headrace.kafka.log import Chunk, TopicPartition
from headrace.worker import time_limit

log = logging.getLogger("headrace.worker.hangs")

TWICE = 2
"""Hangs in the same records after which they are taken in pieces, or the one record is left out."""
NARROWER = 64
"""How many pieces suspected records are taken in."""
KEPT = 1_000
"""Hangs that are remembered."""
_NOTE = 512
"""Bytes of a note."""


class Hang(NamedTuple):
    """Records of a partition that a process had in hand when it hung: the first offset and the last."""

    topic: str
    partition: int
    first: int
    last: int


class Hangs:
    """What is known of hangs of one group's workers on this host, and what this worker has in hand.

    Args:
        folder: where the workers of this host keep their notes; None: nothing is noted and nothing known.
        group: of the workers.
    """

    def __init__(self, folder: Path | None, group: str) -> None:
        self._known: dict[TopicPartition, list[Hang]] = {}
        self._note: int | None = None
        self._dump: IO[str] | None = None
        self._files: list[Path] = []
        if folder is None:
            return
        stem = f"{group.replace('/', '_')}"
        for hang in _learned(folder, stem):
            self._known.setdefault(TopicPartition(hang.topic, hang.partition), []).append(hang)
        note, dump = (folder / f"{stem}.{os.getpid()}.{ending}" for ending in ("hand", "hung"))
        self._note = os.open(note, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._dump = dump.open("w")
        self._files = [note, dump]
        time_limit.dump_to(self._dump)

    def pieces(self, chunk: Chunk) -> Iterator[tuple[Chunk, int]]:
        """The chunk in pieces, in order, each with how often a process hung on it where it is one record to be left
        out, and 0 where it is to be processed."""
        hangs = self._known.get(chunk.tp)
        if not hangs:
            yield chunk, 0
            return
        start = 0
        while start < len(chunk):
            offset = int(chunk.offsets[start])
            size, last, times = _suspected(hangs, offset)
            inside = [i for i in range(start, len(chunk)) if int(chunk.offsets[i]) <= last] if size else []
            if not size:
                later = [h.first for h in hangs if h.first > offset]
                stop = next(
                    (i for i in range(start, len(chunk)) if later and chunk.offsets[i] >= min(later)), len(chunk)
                )
                yield chunk.slice(start, stop), 0
            elif size == 1 and times >= TWICE:
                stop = start + 1
                yield chunk.slice(start, stop), times
            else:
                stop = start + min(len(inside), max(1, size // NARROWER) if times >= TWICE else size)
                yield chunk.slice(start, stop), 0
            start = stop

    @contextmanager
    def in_hand(self, chunk: Chunk) -> Iterator[None]:
        """Note that these records are being processed, until the block ends."""
        if self._note is None:
            yield
            return
        self._write(Hang(*chunk.tp, int(chunk.offsets[0]), int(chunk.offsets[-1])))
        try:
            yield
        finally:
            self._write(None)

    def close(self) -> None:
        """Leave no note: this worker ends as it should."""
        if self._note is not None:
            os.close(self._note)
            self._note = None
        if self._dump is not None:
            time_limit.dump_to(None)
            self._dump.close()
            self._dump = None
        for file in self._files:
            with suppress(OSError):
                file.unlink()

    def _write(self, hang: Hang | None) -> None:
        """In place and at once: the process may end in the next moment."""
        assert self._note is not None
        os.pwrite(self._note, (json.dumps(hang) if hang else "").encode().ljust(_NOTE), 0)


def _suspected(hangs: list[Hang], offset: int) -> tuple[int, int, int]:
    """The narrowest records with an offset that a process hung on: how many offsets, the last, and how often; or 0."""
    holding = [h for h in hangs if h.first <= offset <= h.last]
    if not holding:
        return 0, 0, 0
    least = min(h.last - h.first + 1 for h in holding)
    narrow = [h for h in holding if h.last - h.first + 1 == least]
    return least, min(h.last for h in narrow), len(narrow)


def _learned(folder: Path, stem: str) -> list[Hang]:
    """The hangs remembered, with those of processes that have ended since."""
    memory = folder / f"{stem}.hangs.jsonl"
    known = [Hang(*json.loads(line)) for line in memory.read_text().splitlines()] if memory.exists() else []
    new = []
    for note in sorted(folder.glob(f"{stem}.*.hand")):
        pid = note.name.removeprefix(f"{stem}.").removesuffix(".hand")
        dump = note.with_suffix(".hung")
        if not pid.isdecimal() or _lives(int(pid)):
            continue
        threads = dump.read_text() if dump.exists() else ""
        text = note.read_bytes().strip()
        if threads and text:
            new.append(Hang(*json.loads(text)))
            log.warning("process %s hung on %s, and ended; its threads stood here:\n%s", pid, _said(new[-1]), threads)
        for file in (note, dump):
            with suppress(OSError):
                file.unlink()
    if new:
        known = [*known, *new][-KEPT:]
        beside = memory.with_suffix(f".{os.getpid()}")
        beside.write_text("".join(f"{json.dumps(hang)}\n" for hang in known))
        beside.replace(memory)
    return known


def _said(hang: Hang) -> str:
    offsets = f"offset {hang.first}" if hang.first == hang.last else f"offsets {hang.first} to {hang.last}"
    return f"{TopicPartition(hang.topic, hang.partition)} {offsets}"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
