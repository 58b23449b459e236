"""``headrace push`` as a share of P: files of ten flat fields, checked, sent and committed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from bench import cores
from bench.door import FORMATS
from bench.pairing import Measure
from bench.progress import Rate
from bench.sitting import FULL, Sitting
from headrace.errors import StackError

ROWS = 600_000
TIMEOUT_S = 120


def door(sitting: Sitting) -> None:
    """Rows a second of each format, whole: from opening the file to the last commit."""
    with tempfile.TemporaryDirectory() as folder:
        count = ROWS if sitting.scale is FULL else ROWS // 4
        _run("write", folder, str(count))
        cases: dict[str, Measure] = {
            f"push_{format}": partial(_push, sitting, Path(folder) / f"rows.{format}") for format in FORMATS
        }
        sitting.against(cases)


def _push(sitting: Sitting, path: Path) -> Rate:
    settings = sitting.cluster.settings
    return Rate(**json.loads(_run("push", settings.bootstrap, settings.registry_url, str(path))))


def _run(*args: str) -> str:
    with cores.on(cores.CLIENT):
        cmd = [sys.executable, "-m", "bench.door", *args]
        done = subprocess.run(cmd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise StackError(f"the push failed: {done.stderr.strip()}")
    return done.stdout
