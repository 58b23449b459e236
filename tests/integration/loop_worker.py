"""A worker as a process of its own: the exactly-once loop with :class:`tests.toys.RunningCount`.

``python -m tests.integration.loop_worker '{"kafka": {...}, "bootstrap": ..., "group": ..., "worker": ...,
"source": ..., "sink": ..., "dead": ..., "batch": 20, "commit_interval": 0.05, "ahead": 2}'``. ``HEADRACE_FAULT`` kills
it at a fault point; ``STOP_AT=after_offsets:3`` stops it there as SIGSTOP does, until someone sends SIGCONT;
``CRASH_AT=130`` has a kernel of the native transport crash at the 130th message that it gives back.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
from types import FrameType

from headrace.config import Settings
from headrace.kafka import faults
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Chunk, Output, TopicPartition
from headrace.worker.loop import ExactlyOnceLoop, LoopConfig
from tests.integration.native_messages import Messages
from tests.toys import RunningCount


def stop_at(wanted: str, left: int) -> None:
    """Make the fault point ``wanted`` stop this process at its ``left``-th pass."""
    kill = faults.point

    def point(name: faults.Point) -> None:
        nonlocal left
        kill(name)
        if name == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGSTOP)

    faults.point = point


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    faulthandler.register(signal.SIGUSR1)
    args = json.loads(sys.argv[1])
    if at := os.environ.get("STOP_AT"):
        name, _, times = at.partition(":")
        stop_at(name, int(times))

    if crash_at := os.environ.get("CRASH_AT"):
        Messages(int(crash_at))

    def dead_letter(chunk: Chunk, trace: str) -> Output:
        return Output(TopicPartition(args["dead"], chunk.tp.partition), chunk.keys, chunk.values)

    log = KafkaLog(Settings(bootstrap=args["bootstrap"], kafka=args["kafka"]), args["worker"])
    config = LoopConfig(args["group"], args["worker"], args["commit_interval"], args["batch"], ahead=args["ahead"])
    loop = ExactlyOnceLoop(log, RunningCount(args["source"], args["sink"]), config, dead_letter)

    def stop(signum: int, frame: FrameType | None) -> None:
        loop.stop()

    signal.signal(signal.SIGTERM, stop)
    loop.run()


if __name__ == "__main__":
    main()
