"""What is done to whom, and when: a function of the seed alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from headrace.kafka.faults import Point

Kind = Literal[
    "kill",  # kill -9 of a processor, which is started again
    "freeze",  # SIGSTOP for longer than its session, then SIGCONT: it must find itself fenced
    "usurp",  # frozen, its name taken by another process, then SIGCONT: the zombie must end
    "step",  # killed at a numbered step of the exactly-once loop
    "add",  # one more infer worker
    "remove",  # one infer worker less, asked to end
    "host",  # workers of another host join every group, and are lost with it
    "rebuild",  # killed while its state is being rebuilt, which is begun anew
    "retention",  # Kafka drops records that a worker has not read: it stops until that is accepted in writing
    "remade",  # the topic of triggers is deleted and made again: its readers stop until that is accepted
    "broker",  # kill -9 of a broker, which is started again
    "bounce",  # a broker of the cluster is stopped as an operator does, and started again
    "registry",  # the schema registry goes away and comes back
    "cut",  # connections through the proxy are cut
    "delay",  # connections through the proxy are slow
    "half_open",  # connections through the proxy carry nothing, and stay open
    "stuck",  # a transaction is left open on predictions until the broker ends it
    "activate",  # another policy is approved
    "rollback",  # the policy before is ordered back
    "govern_approved",  # govern is killed between an approval and its activation
    "train",  # a training is ordered: it runs, is gated, and may be killed, beside everything else
    "govern_markers",  # govern is killed when it has written markers and not yet what names them
    "disk_full",  # no worker can write a byte to its disk, while an approval is to be carried out
    "disk_read_only",  # the same, and the disk is read-only
    "state_full",  # the broker's disk is full, and it gives up; there is room again, and it is started
    "state_read_only",  # the broker is killed, and started where its folder is read-only; then where it is not
]
KINDS: tuple[Kind, ...] = get_args(Kind)
POINTS: tuple[Point, ...] = get_args(Point)
SINGLE_BROKER: tuple[Kind, ...] = tuple(k for k in KINDS if k != "bounce")
BRIEF: tuple[Kind, ...] = tuple(k for k in SINGLE_BROKER if k not in ("train", "retention", "remade"))
"""What needs neither a cluster nor the processors of the slow path, and leaves every record to be counted."""
CLUSTER: tuple[Kind, ...] = tuple(
    k for k in KINDS if k not in ("registry", "cut", "delay", "half_open", "state_full", "state_read_only")
)
DISK: tuple[Kind, ...] = ("disk_full", "disk_read_only", "state_full", "state_read_only")
"""What needs a file system of its own."""
STATEFUL = ("preprocess-0", "join-0")
"""Workers with a state to rebuild."""
STEPPED = ("preprocess-0", "join-0", "infer-0", "infer-1")
"""Workers with enough traffic to come to every step."""


class Fault(NamedTuple):
    """One thing that is done.

    Attributes:
        number: its place in the schedule.
        kind: what.
        target: to which worker, broker or whatever the kind is about; empty where there is no choice.
        seconds: how long it lasts, where it does.
        point: the step at which the worker is killed, where that is the kind.
        passes: how often the step is passed before.
        together: it begins at once, before the fault ahead of it has been got over.
    """

    number: int
    kind: Kind
    target: str
    seconds: float
    point: Point | None
    passes: int
    together: bool

    def __str__(self) -> str:
        about = [self.kind, self.target, f"{self.point}:{self.passes}" if self.point else ""]
        lasts = f"{self.seconds:.1f} s" if self.seconds else ""
        return " ".join(p for p in [*about, lasts, "(together)" if self.together else ""] if p)


def schedule(seed: int, count: int, kinds: Sequence[Kind], workers: Sequence[str], brokers: int = 1) -> list[Fault]:
    """``count`` faults: each kind in turn in a shuffled order, so that none is left out, each with its own details."""
    chance = random.Random(seed)
    order: list[Kind] = []
    while len(order) < count:
        order += chance.sample(list(kinds), len(kinds))
    return [_fault(chance, number, kind, workers, brokers) for number, kind in enumerate(order[:count])]


def _fault(chance: random.Random, number: int, kind: Kind, workers: Sequence[str], brokers: int) -> Fault:
    target, seconds, point, passes = "", 0.0, None, 1
    match kind:
        case "kill":
            target = chance.choice(list(workers))
        case "freeze" | "usurp":
            target, seconds = chance.choice(STEPPED), chance.uniform(7.0, 12.0)
        case "step":
            target, point, passes = chance.choice(STEPPED), chance.choice(POINTS[:5]), chance.randint(1, 4)
        case "broker" | "bounce":
            target, seconds = str(chance.randint(1, brokers)), chance.uniform(0.0, 2.0)
        case "rebuild":
            target, point = chance.choice(STATEFUL), "in_rebuild"
        case "host":
            seconds = chance.uniform(2.0, 8.0)
        case "registry" | "disk_full" | "disk_read_only":
            seconds = chance.uniform(0.5, 3.0)
        case "delay" | "half_open":
            seconds = chance.uniform(1.0, 6.0)
        case "stuck":
            seconds = 4.0
    return Fault(number, kind, target, round(seconds, 1), point, passes, together=chance.random() < 0.25)
