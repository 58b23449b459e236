"""What the peers need beside headrace: a virtual environment each, and for Java two libraries and a compiler."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.embedded.cache import Cache, cache_folder
from headrace.embedded.download import install
from headrace.embedded.java import JAVA
from headrace.embedded.maven import fetch
from headrace.embedded.parts import Part
from headrace.errors import StackError

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
INSTALL_S = 600.0
COMPILE_S = 120.0
SOURCES = ("Scoring.java", "TunedScoring.java", "FeaturesReader.java", "ReceiptWriter.java")
HEAP = ("-Xms1g", "-Xmx1g")


def python_of(name: str) -> Path:
    """The interpreter of an environment with ``requirements/<name>.txt`` in it; made where it is not there yet.

    Raises:
        StackError: the packages cannot be installed.
    """
    wanted = HERE / "requirements" / f"{name}.txt"
    digest = hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]
    folder = cache_folder() / "bench" / f"{name}-{sys.version_info.major}.{sys.version_info.minor}-{digest}"
    python, done = folder / "bin" / "python", folder / "done"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(folder)], f"{name}: its environment", INSTALL_S)
        _run([str(python), "-m", "pip", "install", "--quiet", "-r", str(wanted)], f"{name}: its packages", INSTALL_S)
        done.touch()
    return python


def java_command(program: str, flags: Sequence[str], job: Path) -> list[str]:
    """The command of a Java peer, compiled where it is not yet.

    Args:
        program: its class.
        flags: of the virtual machine.
        job: its properties are beside it.

    Raises:
        StackError: it cannot be compiled.
        DownloadError: a library cannot be fetched.
    """
    parts = [Part(**p) for p in json.loads((HERE / "java_parts.json").read_text())]
    cache = Cache(cache_folder())
    kafka = install().kafka
    if cache.missing(parts):
        with cache.locked():
            for part in cache.missing(parts):
                cache.add(part, fetch(part, cache.partial / part.sha256[:12], lambda _: None))
    avro, onnx, compiler = (str(cache.path(part)) for part in parts)
    libraries = ":".join([avro, onnx, *map(str, kafka)])
    sources = [PROGRAMS / name for name in SOURCES]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    classes = cache_folder() / "bench" / f"java-{digest}"
    if not (classes / f"{program}.class").exists():
        compile_it = [*JAVA, "-jar", compiler, "-21", "-nowarn", "-cp", libraries, "-d", str(classes)]
        _run([*compile_it, *map(str, sources)], "java: its compilation", COMPILE_S)
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return [*JAVA, *flags, quiet, "-cp", f"{classes}:{libraries}", program, f"{job}.properties"]


def _run(cmd: list[str], what: str, limit_s: float) -> None:
    try:
        done = subprocess.run(cmd, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise StackError(f"{what} took longer than {limit_s:.0f} s") from None
    if done.returncode:
        raise StackError(f"{what} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
