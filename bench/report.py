"""``build/bench/report.json``: both benchmarks add to it, and the tables are made from it."""

from __future__ import annotations

import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict

import psutil

from bench.pairing import Pairing
from headrace.embedded.parts import read_parts

FOLDER = Path("build/bench")
FILE = FOLDER / "report.json"
GOALS_FILE = Path(__file__).with_name("goals.json")
VERSIONS = ("headrace", "confluent-kafka", "numpy", "polars", "onnxruntime", "scikit-learn", "fastavro", "numba")


class Runs(TypedDict):
    """Every run of one thing: what it is a share of, and what was seen."""

    of: str
    ratios: list[float]
    per_second: list[float]
    baseline_per_second: list[float]
    load: float
    at: str


class Figures(TypedDict):
    """Absolute figures of one thing: name -> value, in the unit that ends the name."""

    values: dict[str, float]
    load: float
    at: str


class Contents(TypedDict):
    """The file."""

    ratios: dict[str, float]
    runs: dict[str, Runs]
    figures: dict[str, Figures]
    missing: dict[str, str]
    machine: dict[str, str | int | float]
    versions: dict[str, str]


def goals() -> dict[str, float]:
    """Floor of each ratio that has one."""
    found: dict[str, float] = json.loads(GOALS_FILE.read_text())
    return found


def read() -> Contents:
    """The report there is, or an empty one."""
    empty: Contents = {"ratios": {}, "runs": {}, "figures": {}, "missing": {}, "machine": {}, "versions": {}}
    try:
        found: Contents = {**empty, **json.loads(FILE.read_text())}
    except (OSError, ValueError):
        return empty
    return found


class Report:
    """What this sitting finds, on top of what earlier ones left. Written after each set, so that none is lost."""

    def __init__(self) -> None:
        self.contents = read()
        self.names: list[str] = []
        """What this sitting measured, in order."""
        self.contents["machine"] = {
            "system": platform.system(),
            "processor": _processor(),
            "cores": os.cpu_count() or 0,
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "python": platform.python_version(),
        }
        installed = {name: _version(name) for name in VERSIONS}
        self.contents["versions"] |= {name: v for name, v in installed.items() if v} | {"Kafka": _kafka_version()}

    def paired(self, name: str, pairing: Pairing, of: str) -> None:
        """Add a ratio and its runs."""
        self._measured(name)
        self.contents["ratios"][name] = round(pairing.ratio, 4)
        self.contents["runs"][name] = {
            "of": of,
            "ratios": [round(r, 4) for r in pairing.ratios],
            "per_second": [round(r) for r in pairing.rates],
            "baseline_per_second": [round(r) for r in pairing.baseline],
            "load": round(pairing.load, 2),
            "at": _now(),
        }

    def ratio(self, name: str, value: float) -> None:
        """Add a ratio that follows from others."""
        self._measured(name)
        self.contents["ratios"][name] = round(value, 4)

    def figures(self, name: str, values: dict[str, float], load: float) -> None:
        """Add absolute figures."""
        self._measured(name)
        self.contents["figures"][name] = {"values": values, "load": round(load, 2), "at": _now()}

    def missing(self, name: str, why: str) -> None:
        """Say of something that it could not be measured."""
        self._measured(name)
        self.contents["missing"][name] = why

    def write(self) -> None:
        """Put everything so far on disk."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        FILE.write_text(json.dumps(self.contents, indent=2) + "\n")

    def _measured(self, name: str) -> None:
        self.names.append(name)
        for part in (
            self.contents["ratios"],
            self.contents["runs"],
            self.contents["figures"],
            self.contents["missing"],
        ):
            part.pop(name, None)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _kafka_version() -> str:
    """The broker's, which the bench starts."""
    return next(part.version for part in read_parts().kafka if part.group == "org.apache.kafka")


def _version(name: str) -> str:
    try:
        return version(name)
    except ImportError:
        return ""


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime())
