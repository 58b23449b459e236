"""A model's signature, scan, first load and proof, in a child process with limits: what a hostile model does, it does
there.

The child gets a folder with a manifest, ONNX bytes and whom to trust, and a budget in bytes; it leaves there the memory
that the loaded and warmed model holds, or exits with the reason on standard error.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from headrace import warm
from headrace.errors import ModelRejected, Unavailable
from headrace.models.package.package import Package
from headrace.models.package.signing import Trust, check
from headrace.models.score.feeding import FULL
from headrace.schema.records import ModelManifest

MB = 1 << 20
PACKAGE, ONNX, TRUST, HELD, SAID = "package.json", "package.onnx", "trust.json", "held", "said.txt"
_NEEDED = (
    "headrace.models.package.proof",
    "headrace.models.package.axes",
    "headrace.models.package.trial",
    "numpy.random",
)
"""What a trial imports."""
MEMORY_BUDGET = 1024 * MB
"""Bytes a loaded model may hold."""
SCAN_MEMORY = 2048 * MB
"""Bytes that looking a model over may take: it is parsed before its budget is asked about."""
LOAD_S = 60.0
REFUSED = 2
"""Exit code when the model is refused; the reason is the last line on standard error."""
_NO_MEMORY = ("bad_alloc", "MemoryError", "Failed to allocate memory")
_ROOM = 64 * MB
"""Address space beside the budget, for what the child itself still needs."""
_COPIES = 4
"""Of the rows that a model is tried on, beside the budget too."""


def try_out(package: Package, trust: Trust, budget: int = MEMORY_BUDGET, limit_s: float = LOAD_S) -> int:
    """Check, load and prove a model in a child process; gives the bytes it holds there.

    Raises:
        ModelRejected: it is not signed by who is trusted, holds what a model may not, needs more memory or time than
            it may have, cannot be loaded at all, or scores otherwise than replay needs (:func:`prove`).
        Unavailable: there is no room for its files, or no process to be had.
    """
    short = package.manifest.model_id[:12]
    try:
        return _tried(package, trust, budget, limit_s)
    except OSError as e:
        raise Unavailable(f"model {short} cannot be tried: {e.strerror or e} ({tempfile.gettempdir()})") from e


def _tried(package: Package, trust: Trust, budget: int, limit_s: float) -> int:
    short = package.manifest.model_id[:12]
    with tempfile.TemporaryDirectory(prefix="headrace-trial-") as name:
        folder = Path(name)
        (folder / PACKAGE).write_text(package.manifest.model_dump_json())
        (folder / ONNX).write_bytes(package.onnx)
        (folder / TRUST).write_text(json.dumps(asdict(trust)))
        warm.warm(*_NEEDED)
        process = warm.started(load_in_child, folder / SAID, name, budget)
        if not process.wait(limit_s):
            process.kill()
            raise ModelRejected(f"model {short}: it did not load and score {FULL} rows within {limit_s:g} s")
        code = process.exitcode or 0
        if code:
            raise ModelRejected(_reason(short, code, (folder / SAID).read_text(errors="replace"), budget))
        held = int((folder / HELD).read_text())
    if held > budget:
        raise ModelRejected(
            f"model {short}: it holds {held // MB} MB when loaded, over the budget of {budget // MB} MB"
        )
    return held


def _reason(short: str, code: int, said: str, budget: int) -> str:
    if any(word in said for word in _NO_MEMORY):
        allowed = f"the budget of {budget // MB} MB"
        return f"model {short}: loaded it holds more than {allowed}, or scoring {FULL} rows takes more"
    lines = said.strip().splitlines()
    if code == REFUSED and lines:
        return lines[-1]
    last = f": {lines[-1]}" if lines else ""
    return f"model {short}: the process that tried to load it ended with {warm.reason(code)}{last}"


def _memory() -> tuple[int, int]:
    """Bytes of this process's address space (0 where the system does not tell), and of those resident."""
    try:
        size, resident = Path("/proc/self/statm").read_text().split()[:2]
    except OSError:
        return 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes where there is no /proc: macOS
    return int(size) * resource.getpagesize(), int(resident) * resource.getpagesize()


def _limit(more: int) -> None:
    """Let this process have no more address space than it has now and ``more`` bytes."""
    if space := _memory()[0]:
        resource.setrlimit(resource.RLIMIT_AS, (space + more, resource.getrlimit(resource.RLIMIT_AS)[1]))


def load_in_child(where: str, budget: int) -> None:
    """Load the model in a folder and try it; see the module."""
    try:
        _load(Path(where), budget)
    except ModelRejected as e:
        print(e, file=sys.stderr)
        sys.exit(REFUSED)


def _load(folder: Path, budget: int) -> None:
    from headrace.models.package.axes import follow
    from headrace.models.package.probes import probes
    from headrace.models.package.proof import prove
    from headrace.models.package.scan import scan
    from headrace.models.score.session import ScoringModel

    manifest = ModelManifest.model_validate_json((folder / PACKAGE).read_text())
    package = Package(manifest, (folder / ONNX).read_bytes())
    trust = Trust(**json.loads((folder / TRUST).read_text()))
    check(package, trust)
    _limit(SCAN_MEMORY)
    steps = scan(manifest.model_id, package.onnx, trust.operators)
    tried = probes(manifest, FULL)
    room = _ROOM + _COPIES * tried.rows.nbytes
    before = _memory()[1]
    _limit(budget + room)
    model = ScoringModel(package, reference=True)
    held = max(0, _memory()[1] - before)
    _limit(SCAN_MEMORY)
    follow(manifest.model_id, package.onnx, steps, tried.rows)
    _limit(max(0, budget - held) + room)
    prove(model, tried)
    (folder / HELD).write_text(str(held))
