"""The OpenTelemetry collector, built where Go is: a receiver of the forward protocol that is none of ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.embedded.cache import Cache, cache_folder, sha256
from headrace.embedded.ports import HOST
from tests.conftest import ROOT
from tests.waiting import wait_for

FOLDER = ROOT / "tests" / "otel"
BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.165.0"
BUILD_S = 800
NO_NETWORK = re.compile(r"dial tcp|no such host|lookup |i/o timeout|connection refused|TLS handshake|40[34] |50[234] ")


def built() -> Path:
    """The program; built once a machine for each content of builder.yaml, and kept in the cache of downloads.

    Skips the test where it cannot be built: no Go, or no network.
    """
    recipe = FOLDER / "builder.yaml"
    cache = Cache(cache_folder() / "collector")
    program = cache.root / f"collector-{sha256(recipe)[:12]}"
    if shutil.which("go") is None:
        pytest.skip("the OpenTelemetry collector is built with Go, and there is none")
    with cache.locked():
        if not program.exists():
            _run(["go", "install", BUILDER], cache.partial)
            # It also asks for the modules of its parts' own tests, which not every proxy has; go.mod is there by then.
            _run(["./builder", "--config", str(recipe), "--skip-compilation"], cache.partial, check=False)
            _run(["go", "build", "-mod=mod", "-o", str(cache.partial / "made"), "."], cache.partial / "source")
            (cache.partial / "made").rename(program)
    return program


class Collector:
    """The collector as a process, on a port of its own, which writes what it got to ``kept``."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.kept = folder / "kept.json"
        with socket.create_server((HOST, 0)) as free:
            self.port: int = free.getsockname()[1]
        self._command = [str(program), "--config", str(FOLDER / "collector.yaml")]
        self._log = (folder / "collector.log").open("wb")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        surroundings = {**os.environ, "PORT": str(self.port), "KEPT": str(self.kept)}
        self._process = subprocess.Popen(self._command, env=surroundings, stdout=self._log, stderr=self._log)
        wait_for(self._listens, 30, "the collector listens")

    def kill(self) -> None:
        """As the kernel would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self._log.close()

    def records(self) -> Iterator[dict[str, object]]:
        """Attributes of every record it wrote: strings, integers and doubles as they are, others as OTLP's JSON."""
        # A batch whose writing was cut short was acked to nobody.
        begin = '{"resourceLogs"'
        for text in self.kept.read_text(errors="replace").split(begin)[1:]:
            try:
                batch = json.loads(begin + text)
            except ValueError:
                continue
            for resource in batch["resourceLogs"]:
                for scope in resource["scopeLogs"]:
                    for record in scope["logRecords"]:
                        fields = {a["key"]: _plain(a["value"]) for a in record["attributes"]}
                        yield {**fields, "time": int(record["timeUnixNano"])}

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, Path(self._log.name).read_text()
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True


def _plain(value: dict[str, object]) -> object:
    [(kind, plain)] = value.items() if value else [("", None)]
    return int(str(plain)) if kind == "intValue" else plain


def _run(command: list[str], folder: Path, check: bool = True) -> None:
    surroundings = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"}
    ran = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=BUILD_S)
    if check and ran.returncode:
        said = ran.stderr.strip()
        if NO_NETWORK.search(said):
            pytest.skip(f"the OpenTelemetry collector's modules cannot be fetched: {said.splitlines()[-1]}")
        pytest.fail(f"{' '.join(command)}: {said}")
