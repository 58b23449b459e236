"""The process behind ``headrace up``: owns a stack until it is told to stop, or a server dies."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.errors import HeadraceError

MODULE = "headrace.embedded.supervisor"
CHECK_S = 0.5


def command(state: Path, *, fresh: bool, principals: Sequence[str], search: bool) -> list[str]:
    """How a supervisor is started; it writes to its standard output why it stopped."""
    flags = {"--fresh": fresh, "--search": search}
    given = [flag for flag, wanted in flags.items() if wanted]
    return [sys.executable, "-m", MODULE, str(state.resolve()), *given, *(f"--principal={p}" for p in principals)]


def serve(state: Path, *, fresh: bool, principals: Sequence[str], search: bool) -> None:
    """Run a stack until SIGTERM.

    Raises:
        HeadraceError: it did not start, or a server died; the others are stopped.
    """
    with Stack(state, fresh=fresh, search=search, layout=Layout(principals=tuple(principals))) as stack:
        engine = [stack.search_url] if search else []
        print(f"ready: {' and '.join([stack.bootstrap, stack.registry_url, *engine])}", flush=True)
        while True:
            time.sleep(CHECK_S)
            stack.check()


def _terminate(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break off the stopping
    raise SystemExit(0)


def main() -> int:
    """``python -m headrace.embedded.supervisor STATE [--fresh] [--search] [--principal NAME]...``"""
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--principal", action="append", default=[], help="authenticate, and give this one a password")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(given.state, fresh=given.fresh, principals=given.principal, search=given.search)
    except HeadraceError as e:
        print(e, flush=True)
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
