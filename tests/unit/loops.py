"""What the loop's tests share: a log that runs a script at its writers' calls, workers to turn, what then stands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from headrace.kafka.log import GroupReader, Output, Position, TopicPartition, read_all
from headrace.kafka.memory import MemoryLog, MemoryWriter
from headrace.worker.loop import ExactlyOnceLoop, LoopConfig
from headrace.worker.processor import Processor
from tests.toys import DEAD, counts, dead_letter, values_of

GROUP = "g"
PARTITIONS = 2


class ScriptedLog(MemoryLog):
    """Runs ``action`` at the chosen one of its writers' calls, counted from 1, before and after each takes effect."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0
        self.action: Callable[[], None] = lambda: None
        self.commits_go = threading.Event()
        self.commits_go.set()
        self.create_topics({name: (PARTITIONS, {}) for name in ("in", "out", "index", DEAD)})
        self.create_topics({"beat": (1, {})})

    def script(self, at: int, action: Callable[[], None]) -> None:
        self.at, self.action = at, action

    def passed(self) -> None:
        self.at -= 1
        if self.at == 0:
            self.action()

    def writer(self, transactional_id: str, *, tracks: bool = True) -> MemoryWriter:
        return ScriptedWriter(self, transactional_id)

    def put(self, values: Sequence[str], partition: int = 0) -> None:
        writer = MemoryWriter(self, f"put-{next(_ids)}")
        writer.begin()
        writer.write(Output(TopicPartition("in", partition), [None] * len(values), [v.encode() for v in values]))
        writer.commit()

    def given(self, partition: int) -> list[tuple[int, str]]:
        """Offset and value of the input records of a partition."""
        return [
            (o, (v or b"").decode())
            for c in read_all(self, "in")
            if c.tp.partition == partition
            for o, v in zip(c.offsets.tolist(), c.values, strict=True)
        ]


_ids = count()


class ScriptedWriter(MemoryWriter):
    def __init__(self, log: ScriptedLog, transactional_id: str) -> None:
        super().__init__(log, transactional_id)
        self._script = log

    def begin(self) -> None:
        self._script.passed()
        super().begin()
        self._script.passed()

    def append(self, outputs: Sequence[Output]) -> list[list[int]]:
        self._script.passed()
        offsets = super().append(outputs)
        self._script.passed()
        return offsets

    def send_offsets(self, positions: Mapping[TopicPartition, Position], group: GroupReader) -> None:
        assert self._script.commits_go.wait(60), "nothing lets the commit go"
        self._script.passed()
        super().send_offsets(positions, group)
        self._script.passed()

    def commit(self) -> None:
        self._script.passed()
        super().commit()
        self._script.passed()


@dataclass(frozen=True)
class Eager(LoopConfig):
    """Never waits for more records, however far apart the commits are."""

    @property
    def gather(self) -> float:
        return 0.0


def worker(
    log: MemoryLog,
    processor: Processor,
    name: str = "w",
    *,
    batch: int = 10_000,
    interval: float = 0.0,
    ahead: int = 0,
) -> ExactlyOnceLoop:
    config = Eager(GROUP, name, commit_interval=interval, batch=batch, idle_poll=0.0, ahead=ahead)
    return ExactlyOnceLoop(log, processor, config, dead_letter)


def turn(*loops: ExactlyOnceLoop, times: int = 1) -> None:
    for _ in range(times):
        for loop in loops:
            loop.turn()


def until(condition: Callable[[], bool], *loops: ExactlyOnceLoop) -> None:
    """Turn the loops, in turn, until a condition holds."""
    for _ in range(1000):
        if condition():
            return
        turn(*loops)
    raise AssertionError("not within 1000 turns")


def die(log: ScriptedLog, name: str) -> None:
    """A process has ended without a word: its session runs out, and so does its transaction."""
    log.expire(GROUP, name)


def committed(log: MemoryLog) -> dict[TopicPartition, int]:
    """Committed positions past the start."""
    return {tp: at.offset for tp, at in log.groups[GROUP].committed.items() if at.offset}


def caught_up(log: ScriptedLog) -> Callable[[], bool]:
    last = {TopicPartition("in", p): log.given(p)[-1][0] + 1 for p in range(PARTITIONS) if log.given(p)}
    return lambda: committed(log) == last


def outputs(log: MemoryLog, topic: str = "out") -> list[list[str]]:
    return list(values_of(log, topic).values())


def names(start: int, stop: int) -> list[str]:
    return [str(i) for i in range(start, stop)]


def words(start: int, stop: int) -> list[str]:
    return [f"w{i * i % 5}" for i in range(start, stop)]


def expected(log: ScriptedLog) -> list[list[str]]:
    return [counts(log.given(p)) for p in range(PARTITIONS)]
