"""What children of the tests of :mod:`headrace.warm` do."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def greets(name: str) -> None:
    print(f"hello {name} from {os.getpid()}")


def fails() -> None:
    raise ValueError("no such thing")


def refuses() -> None:
    sys.exit(3)


def lasts(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)
