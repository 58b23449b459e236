"""A model's first load, in a child process with limits: what a huge or hostile model does, it does there.

``python -m headrace.models.trial`` takes the paths of a manifest and of ONNX bytes, and the budget in bytes; it prints
the memory that the loaded and warmed model holds, or exits with the reason on standard error.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from headrace.errors import ModelRejected
from headrace.launch import command
from headrace.models.package import Package
from headrace.records import ModelManifest

MB = 1 << 20
MEMORY_BUDGET = 1024 * MB
"""Bytes a loaded model may hold."""
LOAD_S = 60.0
REFUSED = 2
"""Exit code when the model is refused; the reason is the last line on standard error."""
_NO_MEMORY = ("bad_alloc", "MemoryError", "Failed to allocate memory")
_ROOM = 64 * MB
"""Address space beside the budget, for what the child itself still needs."""


def try_out(package: Package, budget: int = MEMORY_BUDGET, limit_s: float = LOAD_S) -> int:
    """Load and warm a model in a child process; gives the bytes it holds there.

    Raises:
        ModelRejected: it needs more memory or time than it may have, or it cannot be loaded at all.
    """
    short = package.manifest.model_id[:12]
    with tempfile.TemporaryDirectory(prefix="headrace-trial-") as name:
        manifest, onnx = Path(name) / "manifest.json", Path(name) / "model.onnx"
        manifest.write_text(package.manifest.model_dump_json(exclude={"signature"}))
        onnx.write_bytes(package.onnx)
        cmd = command([sys.executable, "-m", "headrace.models.trial", str(manifest), str(onnx), str(budget)])
        try:
            done = subprocess.run(cmd, capture_output=True, text=True, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            raise ModelRejected(f"model {short}: it did not load within {limit_s:g} s") from None
    if done.returncode:
        raise ModelRejected(_reason(short, done.returncode, done.stderr, budget))
    held = int(json.loads(done.stdout)["held"])
    if held > budget:
        raise ModelRejected(
            f"model {short}: it holds {held // MB} MB when loaded, over the budget of {budget // MB} MB"
        )
    return held


def _reason(short: str, code: int, said: str, budget: int) -> str:
    if any(word in said for word in _NO_MEMORY):
        return f"model {short}: loaded it holds more than the budget of {budget // MB} MB"
    lines = said.strip().splitlines()
    if code == REFUSED and lines:
        return lines[-1]
    last = f": {lines[-1]}" if lines else ""
    return f"model {short}: the process that tried to load it ended with code {code}{last}"


def _memory() -> tuple[int, int]:
    """Bytes of this process's address space (0 where the system does not tell), and of those resident."""
    try:
        size, resident = Path("/proc/self/statm").read_text().split()[:2]
    except OSError:
        return 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes where there is no /proc: macOS
    return int(size) * resource.getpagesize(), int(resident) * resource.getpagesize()


def main() -> int:
    """Load the model named on the command line; see the module."""
    from headrace.models.session import ScoringModel

    manifest, onnx, budget = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    package = Package(ModelManifest.model_validate_json(manifest.read_text()), onnx.read_bytes())
    space, before = _memory()
    if space:
        resource.setrlimit(resource.RLIMIT_AS, (space + budget + _ROOM,) * 2)
    try:
        model = ScoringModel(package)
    except ModelRejected as e:
        print(e, file=sys.stderr)
        return REFUSED
    print(json.dumps({"held": max(0, _memory()[1] - before)}))
    del model  # held until it was weighed
    return 0


if __name__ == "__main__":
    sys.exit(main())
