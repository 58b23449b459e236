"""One sitting of measurements: the cluster, how large it is, what to say while it goes, and where results go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from rich.console import Console

from bench import cores
from bench.loaded import Loaded
from bench.models import package
from bench.pairing import Measure, Pairing, paired
from bench.pipeline import REFERENCE, declared, feature_rows
from bench.progress import Rate
from bench.report import Report
from bench.stack import SEGMENT, Cluster
from bench.worker import throughput
from headrace.errors import StackError

P = "P"
P_TIMEOUT_S = 60
SINK = "bench.passthrough"


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    records: int = 800_000
    """Read by P; a worker is given twice as many, and followed for ``limit_s``."""
    repeats: int = 3
    limit_s: float = 1.5
    """Longest span a worker is followed in one run."""
    latency_s: float = 4.0


FULL = Scale()
QUICK = Scale(records=200_000, repeats=1, limit_s=1.5, latency_s=2.0)


class Sitting:
    """What every set of measurements is handed.

    Args:
        cluster: a running Kafka.
        scale: how much to measure.
        report: where results go.
        console: where they are told as they come.
    """

    def __init__(self, cluster: Cluster, scale: Scale, report: Report, console: Console) -> None:
        self.cluster = cluster
        self.scale = scale
        self.report = report
        self._console = console

    @cached_property
    def linear(self) -> Loaded:
        """The bench's records under the linear model; P reads these very records."""
        return self.loaded("linear")

    def loaded(self, model: str, name: str = "", partitions: int = 1, records: int | None = None) -> Loaded:
        """The bench's records, under a model, in topics of their own."""
        found = Loaded(self.cluster, declared(f"bench-{name or model}", partitions), REFERENCE)
        found.rule(package(found.pipeline, model))
        found.load("features", feature_rows(records or 2 * self.scale.records))
        return found

    def infer(self, loaded: Loaded, commit_ms: int = 100) -> Rate:
        """Records a second of the real infer worker."""
        return throughput(loaded, "infer", ["predictions"], 2 * self.scale.records, self.scale.limit_s, commit_ms)

    def warm_up(self) -> None:
        """Let the broker compile its code and load its coordinators before anything counts."""
        for commit_ms in (0, 20):
            self.plain(commit_ms)

    def plain(self, commit_ms: int = 0) -> Rate:
        """P: records a second of the plain passthrough, or of the same in transactions."""
        self.cluster.log.create_topics({SINK: (1, SEGMENT)})
        settings = self.cluster.settings
        cmd = [sys.executable, "-m", "bench.passthrough", "--bootstrap", settings.bootstrap, "--sink", SINK]
        cmd += ["--source", self.linear.topics.topic("features"), "--records", str(self.scale.records)]
        cmd += ["--commit-ms", str(commit_ms)]
        with cores.on(cores.CLIENT):
            done = subprocess.run(cmd, capture_output=True, text=True, timeout=P_TIMEOUT_S, check=False)
        if done.returncode:
            raise StackError(f"the passthrough failed: {done.stderr.strip()}")
        self.cluster.discard([SINK])
        return Rate(**json.loads(done.stdout))

    def against(self, cases: Mapping[str, Measure], baseline: Measure | None = None, of: str = P) -> dict[str, Pairing]:
        """Measure cases paired with a baseline (P, where none is given) and report their ratios to it."""
        found = paired(baseline or self.plain, cases, self.scale.repeats, self._told)
        for name, pairing in found.items():
            self.report.paired(name, pairing, of)
        self.report.write()
        return found

    def figures(self, name: str, values: dict[str, float], load: float) -> None:
        """Report absolute figures."""
        self.say(f"{name}: " + ", ".join(f"{unit} {value:,.1f}" for unit, value in values.items()))
        self.report.figures(name, values, load)
        self.report.write()

    def say(self, line: str) -> None:
        """Tell how it goes."""
        self._console.print(f"  {line}", highlight=False)

    def _told(self, name: str, pairing: Pairing) -> None:
        self.say(f"{name}: {pairing.ratios[-1]:.2f} ({pairing.rates[-1]:,.0f}/s)")


def load() -> float:
    """The machine's load average over the last minute."""
    return os.getloadavg()[0]
