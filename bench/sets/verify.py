"""Replay beside the live worker: the same records scored again and held bit for bit against what it wrote."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from bench import cores
from bench.pipeline import declared
from bench.progress import Ends, Rate, watch
from bench.sitting import Sitting
from bench.worker import WARM, Worker
from headrace.config import load_settings
from headrace.errors import StackError
from headrace.kafka.cluster import KafkaLog
from headrace.models.package.signing import Trust
from headrace.progress import Progress
from headrace.query.replay.verify import verify as replay
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics

TIMEOUT_S = 120
LIVE = "infer_linear_txn100"


def verify(sitting: Sitting) -> None:
    """Records a second, scored again and compared, as a share of the live worker's."""
    loaded = sitting.loaded("linear", "verify")
    records = 2 * sitting.scale.records
    written = Ends(sitting.cluster, [loaded.topics.topic("predictions")])
    with Worker(loaded, "infer", 100) as worker:
        watch(written, worker.check, records, TIMEOUT_S, WARM)
    settings = sitting.cluster.settings
    cmd = [sys.executable, "-m", "bench.sets.verify", settings.bootstrap, settings.registry_url, loaded.pipeline.name]

    def run() -> Rate:
        with cores.on(cores.CLIENT):
            done = subprocess.run(cmd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if done.returncode:
            raise StackError(f"the replay failed: {done.stderr.strip() or done.stdout}")
        return Rate(**json.loads(done.stdout))

    sitting.against({"replay_verify": run}, lambda: sitting.infer(sitting.linear), LIVE)


class Clock(Progress):
    """Counts from the first records on: before them, the model is loaded."""

    def __init__(self) -> None:
        self.records = 0
        self.began: float | None = None

    def advanced(self, records: int) -> None:
        if self.began is None:
            self.began = time.perf_counter()
        else:
            self.records += records


def main() -> int:
    """Verify the pipeline named; print ``{"records": ..., "seconds": ...}``, or what differs."""
    bootstrap, registry, name = sys.argv[1:]
    settings = load_settings(bootstrap=bootstrap, registry_url=registry)
    topics = PipelineTopics(declared(name), KafkaLog(settings, "bench"), ConfluentRegistry(settings))
    clock = Clock()
    found = replay(topics, Trust(unsigned=True), progress=clock)
    if not found.ok or clock.began is None:
        print(json.dumps(found.plain(topics))[:2000])
        return 1
    print(json.dumps({"records": clock.records, "seconds": time.perf_counter() - clock.began}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
