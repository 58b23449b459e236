"""What leaves the log arrives, whatever befalls those who carry it: ``python -m tests.chaos.forwarding``.

Predictions are written while the search engine, or the receivers of Fluentd's protocol, and forward itself are killed,
stopped and frozen on a seeded schedule; at the end the ids that arrived are held against the log. Where it sleeps, that
is how long a fault lasts.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import polars as pl

from headrace.codec.column import BytesColumn
from headrace.config import Search, Settings
from headrace.consumers.forward.documents import document_id
from headrace.consumers.forward.engine import Engine
from headrace.consumers.forward.indexed import indexed
from headrace.consumers.forward.shape import shapes
from headrace.embedded.ports import HOST
from headrace.embedded.stack import Stack
from headrace.kafka.log import Output, read_all
from headrace.launch import command
from headrace.query.audit.report import Report
from tests.integration.platform import Platform, stop
from tests.ports import free_port
from tests.waiting import wait_for

Way = Literal["search", "fluentd"]
Kind = Literal["kill", "restart", "freeze", "kill_forward"]
KINDS: tuple[Kind, ...] = ("kill", "restart", "freeze", "kill_forward")
TRANSACTION = 2_000
LONGEST_S = 2.0
RECOVERY_S = 120.0


@dataclass
class Result:
    """What a run did and found.

    Attributes:
        way: by which route.
        records: predictions written.
        faults: kind -> how often.
        violations: what the log and the ids that arrived do not agree on.
        recovery_s: seconds from the end of each fault until forward had come on.
    """

    way: Way
    seed: int
    records: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)


class Receiver(Protocol):
    """Those who take documents, as what befalls them sees it."""

    environment: dict[str, str]
    """Tells forward of them."""

    def pids(self) -> list[int]:
        """Processes, the one that gets most first."""

    def ends(self, number: int, how: signal.Signals) -> None:
        """End one of them."""

    def begins(self, number: int) -> None:
        """Start it again where it was."""

    def violations(self, platform: Platform) -> list[str]:
        """What arrived and should not have, or should have and did not."""


class SearchEngine:
    """The embedded engine, and forward's route straight to it."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.environment = {"HEADRACE_SEARCH__URL": stack.search_url}

    def pids(self) -> list[int]:
        described = self._stack.describe()["search"]
        return [described["pid"]] if described else []

    def ends(self, number: int, how: signal.Signals) -> None:
        if how == signal.SIGKILL:
            os.kill(self.pids()[number], how)
        self._stack.stop_search()

    def begins(self, number: int) -> None:
        self._stack.start_search()

    def violations(self, platform: Platform) -> list[str]:
        report = Report()
        engine = Engine(Search(url=self._stack.search_url))
        indexed(platform.topics, shapes(platform.topics.pipeline, ""), engine, report)
        engine.close()
        return [f"{v.where}: {v.what}" for v in report.violations]


class Receivers:
    """Two receivers of Fluentd's protocol, each a process that keeps what it acks in a file."""

    def __init__(self, folder: Path) -> None:
        self._stores = [folder / f"receiver{n}.jsonl" for n in range(2)]
        for store in self._stores:
            store.touch()
        self._ports = [free_port() for _ in self._stores]
        self._processes = [self._started(n) for n in range(2)]
        receivers = json.dumps([f"{HOST}:{port}" for port in self._ports])
        self.environment = {
            "HEADRACE_FORWARD_TO": "fluentd",
            "HEADRACE_FLUENTD__RECEIVERS": receivers,
            "HEADRACE_FLUENTD__ACK_TIMEOUT": "2",
        }

    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def ends(self, number: int, how: signal.Signals) -> None:
        self._processes[number].send_signal(how)
        self._processes[number].wait()

    def begins(self, number: int) -> None:
        self._processes[number] = self._started(number)

    def violations(self, platform: Platform) -> list[str]:
        there = {
            document_id(*chunk.tp, offset)
            for name in platform.topics.pipeline.forward.topics
            for chunk in read_all(platform.log, platform.topics.topic(name))
            for offset in chunk.offsets.tolist()
        }
        # A line cut short is of an event whose message has no ack.
        lines = [line for store in self._stores for line in store.read_text().split("\n") if line.endswith("}")]
        arrived = {json.loads(line)["@id"] for line in lines}
        return [f"{id_}: lost" for id_ in sorted(there - arrived)] + [f"{id_}: new" for id_ in sorted(arrived - there)]

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _started(self, number: int) -> subprocess.Popen[str]:
        own = ["--port", str(self._ports[number]), "--store", str(self._stores[number])]
        process = subprocess.Popen(
            command([sys.executable, "-m", "tests.fluent_receiver", *own]), stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process


def run(way: Way, platform: Platform, receiver: Receiver, *, records: int, faults: int, seed: int) -> Result:
    """Write ``records`` predictions while ``faults`` befall those who carry them."""
    chance, result = random.Random(seed), Result(way, seed)
    forward = platform.start("forward-0", settings=receiver.environment)
    schedule = [KINDS[i % len(KINDS)] for i in range(faults)]
    chance.shuffle(schedule)
    try:
        for number, kind in enumerate(schedule):
            first, middle, last = (records * (2 * number + i) // (2 * faults) for i in range(3))
            _write(platform, first, middle)
            time.sleep(chance.uniform(0, 0.3))
            if kind == "kill_forward":
                forward.kill()
                forward.wait()
                _write(platform, middle, last)
                forward = platform.start("forward-0", settings=receiver.environment)
            else:
                _befall(receiver, kind, chance, partial(_write, platform, middle, last))
            began = time.monotonic()
            wait_for(lambda: _passed(platform), RECOVERY_S, f"forward to get over a {kind}")
            result.recovery_s.append(time.monotonic() - began)
            result.faults[kind] += 1
    finally:
        stop(forward)
    result.records = platform.rows("predictions").height
    result.violations = receiver.violations(platform)
    return result


def _befall(receiver: Receiver, kind: Kind, chance: random.Random, meanwhile: Callable[[], None]) -> None:
    number, seconds = chance.randrange(len(receiver.pids())), chance.uniform(0, LONGEST_S)
    if kind == "freeze":
        pid = receiver.pids()[number]
        os.kill(pid, signal.SIGSTOP)
        meanwhile()
        time.sleep(2 * seconds)
        os.kill(pid, signal.SIGCONT)
        return
    receiver.ends(number, signal.SIGKILL if kind == "kill" else signal.SIGTERM)
    meanwhile()
    time.sleep(seconds)
    receiver.begins(number)


def _write(platform: Platform, start: int, stop_: int) -> None:
    """Features and the predictions made of them, as preprocess and infer write them, in transactions."""
    topics = platform.topics
    writer = platform.log.writer("chaos-forwarding")
    for first in range(start, stop_, TRANSACTION):
        count = min(TRANSACTION, stop_ - first)
        partition = first // TRANSACTION % topics.pipeline.partitions
        ids = [f"c{first + i}" for i in range(count)]
        times = pl.Series(np.arange(first, first + count) * 1_000_000 + 1_704_067_200_000_000)
        features = pl.DataFrame(
            {
                "id": ids,
                "key": ["user0"] * count,
                "event_time": times.cast(pl.Datetime("us", "UTC")),
                "raw_offset": np.arange(count),
                "price": np.random.default_rng(first).random(count),
                "seen_10m": np.arange(count),
            }
        )
        writer.begin()
        keys = [b"user0"] * count
        (offsets,) = writer.write_and_wait(
            [topics.rows("features", partition, features.select(topics.columns("features").keys()), keys)]
        )
        values = topics.codec("predictions").encode_columns(
            count,
            {
                "id": BytesColumn.of([i.encode() for i in ids]),
                "key": "user0",
                "event_time": times.to_numpy(),
                "partition": partition,
                "offset": np.array(offsets, dtype=np.int64),
                "model_id": "m",
                "marker_offset": 0,
                "route": "champion",
                "outputs": np.random.default_rng(first).random((count, 1)).astype(np.float32),
                "runtime": "r",
            },
        )
        writer.write(Output(topics.tp("predictions", partition), keys, values))
        writer.commit()
    writer.close()


def _passed(platform: Platform) -> bool:
    """Whether forward has consumed every prediction there is; each transaction ends with a marker."""
    topics = platform.topics
    committed = platform.log.committed(f"{topics.pipeline.name}.forward")
    bounds = platform.log.bounds(topics.topic("predictions"))
    return all(end == 0 or committed.get(topics.tp("predictions", p), 0) >= end - 1 for p, (_, end) in bounds.items())


@contextmanager
def receiver_of(way: Way, stack: Stack, folder: Path) -> Iterator[Receiver]:
    """Those who take documents by this route; the stack has a search engine where that is the one."""
    if way == "search":
        yield SearchEngine(stack)
        return
    receivers = Receivers(folder)
    try:
        yield receivers
    finally:
        receivers.close()


def main() -> int:
    """Run what the command line asks for; gives 1 where something was lost or made up."""
    parser = argparse.ArgumentParser(prog="forwarding", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--faults", type=int, default=24)
    parser.add_argument("--way", action="append", choices=("search", "fluentd"))
    given = parser.parse_args()
    logging.disable(logging.ERROR)
    broken = False
    for way in given.way or ("search", "fluentd"):
        with ExitStack() as held:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="headrace-forwarding-")))
            stack = held.enter_context(Stack(folder / "state", search=way == "search"))
            settings = Settings(
                bootstrap=stack.bootstrap, registry_url=stack.registry_url, state=stack.state, unsigned_models="accept"
            )
            receiver = held.enter_context(receiver_of(way, stack, folder))
            platform = Platform("forwarding", settings, folder)
            found = run(way, platform, receiver, records=given.records, faults=given.faults, seed=given.seed)
            recovered = sorted(found.recovery_s)
            print(
                f"{way}: seed {found.seed}, {found.records:,} predictions, faults {dict(found.faults)}, "
                f"{len(found.violations)} violations; recovery p50 {recovered[len(recovered) // 2]:.1f} s, "
                f"max {recovered[-1]:.1f} s"
            )
            for violation in found.violations[:20]:
                print(f"  {violation}")
            broken |= bool(found.violations)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
