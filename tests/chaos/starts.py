"""``python -m tests.chaos.starts``: stacks that start side by side, round after round; tells of each that does not."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.errors import HeadraceError


def started(folder: Path) -> str:
    """Start a stack and stop it; gives why it did not start, or nothing."""
    try:
        with Stack(folder, layout=Layout(heap_mb=256, quick=True)):
            return ""
    except HeadraceError as e:
        return str(e)


def main() -> int:
    """Run the rounds; gives 1 where a stack did not start."""
    parser = argparse.ArgumentParser(prog="starts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--abreast", type=int, default=4, help="stacks that start side by side")
    given = parser.parse_args()
    failed = 0
    for turn in range(1, given.rounds + 1):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.abreast) as pool:
            found = list(pool.map(started, (Path(folder) / str(i) for i in range(given.abreast))))
        failed += sum(map(bool, found))
        print(
            f"round {turn}: {time.monotonic() - began:.1f} s, {failed} failed so far", *filter(None, found), flush=True
        )
    print(f"{given.rounds * given.abreast} starts, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
