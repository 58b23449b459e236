"""What the join's state takes: ``python -m bench.held``, in this process, without a broker.

Holds left records of 94 bytes, then brings labels of theirs, in the order of the records or in none. Prints bytes a
record in memory and on disk, and microseconds a record.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from headrace.codec.column import BytesColumn
from headrace.state.budget import MEMORY, Budget
from headrace.state.records import Arrived
from headrace.streams.join.pairing import EXAMPLES, Pairs

BATCH = 10_000
LABELS = 1_000_000
SIZE = 94
DIGITS = 9
ID_AT = 6
HORIZON_US = 90 * 86_400 * 1_000_000
"""Nothing expires."""
MB = 1 << 20


def records(numbers: np.ndarray[tuple[int], np.dtype[np.int64]], offset: int) -> Arrived:
    """Records whose ids are these numbers, with the id where an Avro record has it."""
    count = len(numbers)
    data = np.full((count, SIZE), 7, dtype=np.uint8)
    digits = (numbers[:, None] // 10 ** np.arange(DIGITS)[::-1] % 10 + ord("0")).astype(np.uint8)
    data[:, ID_AT : ID_AT + DIGITS] = digits
    ids = BytesColumn(digits.reshape(-1), np.arange(count + 1, dtype=np.int64) * DIGITS)
    values = BytesColumn(data.reshape(-1), np.arange(count + 1, dtype=np.int64) * SIZE)
    offsets = np.arange(offset, offset + count, dtype=np.int64)
    return Arrived(ids, offsets * 1_000, offsets * 1_000, offsets, values)


class Run:
    """A state that is filled and then asked.

    Args:
        place: where it goes.
    """

    def __init__(self, place: Budget) -> None:
        self._place = place
        self._pairs = Pairs(HORIZON_US)
        self._process = psutil.Process()
        place.replace(self._pairs.stores)

    def fill(self, count: int) -> dict[str, float]:
        """Hold ``count`` records."""
        self.ask(np.arange(BATCH), 0)
        self._take(0)
        before, began, longest = self._process.memory_info().rss, time.perf_counter(), 0.0
        for first in range(BATCH, count, BATCH):
            longest = max(longest, self._take(first))
        return {
            "records": count,
            "index_bytes_a_record": sum(s.index.size for s in self._place.stores) / count,
            "memory_bytes_a_record": self._place.held / count,
            "resident_bytes_a_record": (self._process.memory_info().rss - before) / count,
            "disk_bytes_a_record": self._place.on_disk / count,
            "resident_mib": self._process.memory_info().rss / MB,
            "left_us": (time.perf_counter() - began) / count * 1e6,
            "longest_batch_ms": longest * 1e3,
        }

    def ask(self, ids: np.ndarray[tuple[int], np.dtype[np.int64]], offset: int) -> dict[str, float]:
        """Bring a label for each of these."""
        began, found = time.perf_counter(), 0
        for first in range(0, len(ids), BATCH):
            _, (late, _) = self._pairs.add_labels(records(ids[first : first + BATCH], offset + first))
            found += len(late.lefts.values())
            self._pairs.let_go()
            self._place.settle()
        return {
            "pairs": found,
            "label_us": (time.perf_counter() - began) / len(ids) * 1e6,
            "resident_after_mib": self._process.memory_info().rss / MB,
        }

    def _take(self, first: int) -> float:
        began = time.perf_counter()
        self._pairs.add_lefts(EXAMPLES, records(np.arange(first, first + BATCH), first))
        self._pairs.let_go()
        self._place.settle()
        return time.perf_counter() - began


def main() -> None:
    """Run once, print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="bench.held", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--memory", type=int, default=MEMORY)
    parser.add_argument("--shuffled", action="store_true", help="labels in no order")
    given = parser.parse_args()
    ids = np.arange(BATCH, min(given.records, BATCH + LABELS), dtype=np.int64)
    if given.shuffled:
        ids = np.random.default_rng(7).choice(given.records - BATCH, len(ids) // 5, replace=False) + BATCH
    with TemporaryDirectory(prefix="headrace-held-") as folder:
        place = Budget(given.memory, Path(folder))
        run = Run(place)
        figures = run.fill(given.records) | run.ask(ids, given.records)
        place.close()
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}, indent=1))


if __name__ == "__main__":
    main()
