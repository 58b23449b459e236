"""What an event from a service costs: ``EventProducer.send`` as a share of fastavro and confluent-kafka by hand."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from bench import cores
from bench.sitting import FULL, Sitting, load
from headrace.errors import StackError

COUNT = 60_000
ROUNDS = 5
TIMEOUT_S = 120


def events(sitting: Sitting) -> None:
    """Microseconds of processor time an event, and the median of the runs' shares of the baseline around them."""
    settings, before = sitting.cluster.settings, load()
    count, rounds = (COUNT, ROUNDS) if sitting.scale is FULL else (COUNT // 4, 1)
    cmd = [sys.executable, "-m", "bench.events", settings.bootstrap, settings.registry_url, str(count), str(rounds)]
    with cores.on(cores.CLIENT):
        done = subprocess.run(cmd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise StackError(f"the events failed: {done.stderr.strip()}")
    for shape, found in json.loads(done.stdout).items():
        ours, by_hand = found["ours"], found["baseline"]
        shares = [mine / theirs for mine, theirs in zip(ours, by_hand, strict=True)]
        figures = {
            "events": float(count),
            "send_us": statistics.median(ours),
            "by_hand_us": statistics.median(by_hand),
            "share": statistics.median(shares),
            "least": min(shares),
            "most": max(shares),
        }
        sitting.figures(f"events_{shape}", figures, before)
