"""One chaos run: the stack, the load, the faults one after the other, and the audit at the end.

Where it sleeps, that is how long a fault lasts: what comes of it is waited for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Settings
from headrace.embedded.kafka import Layout
from headrace.embedded.ports import HOST
from headrace.embedded.stack import Stack
from headrace.embedded.state import StateFolder
from headrace.errors import ConfigError, StackError, Unavailable
from headrace.governance.catalog import governance
from headrace.governance.decisions import order_rollback, order_training
from headrace.governance.losses import accept_losses
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Output, Writer, read_range
from headrace.query.audit.audit import audit
from headrace.query.audit.scope import INPUTS
from headrace.runner.processors import PROCESSORS
from headrace.runner.recompute import recompute
from tests.chaos.herd import Herd
from tests.chaos.load import Crowd, Feeder, Probes
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import DISK, Fault, Kind, schedule
from tests.contract.members import delete_topic, drop_before
from tests.disk import Disk, may_mount
from tests.integration.platform import Platform
from tests.waiting import wait_for

WORKERS = ("preprocess-0", "join-0", "infer-0", "infer-1", "govern-0")
PROXIED = "infer-1"
"""The worker that reaches Kafka through the proxy."""
ALL_WORKERS = (*WORKERS, "retrain-0", "monitor-0")
RECOVERY_S = 90.0
"""No fault may take longer to be got over, on an idle machine (see ``tests.waiting.PATIENCE``)."""
ZOMBIE_S = 40.0
DELAY_S = 0.15
STATE_MB, SCRATCH_MB = 2048, 256
"""Sizes of the disks that faults fill: that of the broker, and that of the workers."""
DROPPED = 10
"""Offsets of records that Kafka drops before they are read."""
TAIL = 50
"""Offsets at the end of a partition among which its last record is looked for; the rest are markers."""


@dataclass(frozen=True)
class Plan:
    """What a run does; the same plan does the same."""

    seed: int
    faults: int
    records: int
    kinds: tuple[Kind, ...]
    brokers: int = 1
    per_second: float = 400.0
    workers: tuple[str, ...] = WORKERS
    transport: str = "auto"
    forked: bool = False


@dataclass
class Result:
    """What came of a run. Seconds of recovery: from the end of a fault until a click sent then had its outcome."""

    seed: int
    brokers: int
    transport: str
    faults: dict[str, int] = field(default_factory=dict)
    recovery_s: dict[str, list[float]] = field(default_factory=dict)
    records: int = 0
    answers: int = 0
    activations: int = 0
    shared: int = 0
    """Events that threads sharing one producer were told to be on the log."""
    restarts: dict[str, int] = field(default_factory=dict)
    lag_zero_s: float = 0.0
    violations: list[str] = field(default_factory=list)
    audit: dict[str, Any] = field(default_factory=dict)

    @property
    def recoveries(self) -> list[float]:
        return [s for found in self.recovery_s.values() for s in found]

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self) | {
            "recovery_p50_s": round(statistics.median(self.recoveries), 2),
            "recovery_max_s": round(max(self.recoveries), 2),
        }


class Chaos:
    """A run of a plan in a folder. ``say`` is told what happens."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._spare = 0
        self._models = 100
        self._stuck_writers: list[Writer] = []
        self._result = Result(plan.seed, plan.brokers, plan.transport)

    def run(self) -> Result:
        """Do it all.

        Raises:
            AssertionError: something was not got over in time.
        """
        plan = self._plan
        self._say(f"seed {plan.seed}, {plan.faults} faults, {plan.records} records, {plan.brokers} broker(s)")
        if not may_mount():
            self._say("no file system may be mounted here: faults of the disk are left out")
        with self._standing() as (stack, platform, herd, proxy):
            self._stack, self._platform, self._herd, self._proxy = stack, platform, herd, proxy
            probes = Probes(platform)
            first = platform.activate(1)
            platform.wait_ruling(first)
            feeder = Feeder(platform, plan.records, plan.per_second)
            crowd = Crowd(platform, feeder)
            try:
                self._recovered(probes, feeder, "start")
                self._hurt(probes, feeder)
                began = time.monotonic()
                feeder.finish()
                told = crowd.finish()
                fed = time.monotonic()
                wait_for(self._caught_up, 120, "every group to have consumed all there is")
                self._result.lag_zero_s = round(time.monotonic() - fed, 2)
                self._say(f"the rest was fed in {fed - began:.1f} s; lag zero {self._result.lag_zero_s} s after that")
                self._account()
                self._result.shared = len(told)
                self._result.violations += crowd.broken(told)
            except AssertionError:
                self._examine()
                raise
            finally:
                crowd.close()
                feeder.close()
                probes.close()
        return self._result

    @contextlib.contextmanager
    def _standing(self) -> Iterator[tuple[Stack, Platform, Herd, Proxy]]:
        """The stack, the proxy and the workers, all running."""
        plan, proxy = self._plan, Proxy()
        layout = Layout(
            brokers=plan.brokers,
            heap_mb=512 if plan.brokers == 1 else 384,
            quick=True,
            through=proxy.port if plan.brokers == 1 else 0,
        )
        with contextlib.ExitStack() as closing:
            closing.callback(proxy.close)
            scratch = self._disks(closing)
            stack = closing.enter_context(Stack(self._folder / "state", layout=layout))
            proxy.target = stack.through
            settings = Settings(
                bootstrap=stack.bootstrap,
                registry_url=stack.registry_url,
                kafka={"session.timeout.ms": "6000"},
                replication_factor=min(3, plan.brokers),
                unsigned_models="accept",
                transport=plan.transport,
            )
            logs = self._folder / "workers"
            logs.mkdir()
            platform = Platform(f"chaos-{plan.seed}", settings, logs, scratch, forked=plan.forked)
            herd = Herd(platform, {PROXIED: f"{HOST}:{proxy.port}"} if layout.through else {})
            closing.callback(herd.close)
            for worker in plan.workers:
                herd.add(worker)
            yield stack, platform, herd, proxy

    def _disks(self, closing: contextlib.ExitStack) -> Path | None:
        """Give the first broker and the workers disks of their own, where they may have any; gives the workers'."""
        if not may_mount():
            return None
        state = StateFolder(self._folder / "state")
        state.claim()
        state.release()
        self._broker_disk = Disk(state.kafka, STATE_MB)
        closing.callback(self._broker_disk.close)
        self._scratch = Disk(self._folder / "scratch", SCRATCH_MB)
        closing.callback(self._scratch.close)
        return self._scratch.folder

    def _hurt(self, probes: Probes, feeder: Feeder) -> None:
        plan = self._plan
        kinds = [k for k in plan.kinds if may_mount() or k not in DISK]
        faults = schedule(plan.seed, plan.faults, kinds, plan.workers, plan.brokers)
        for fault, after in zip(faults, [*faults[1:], None], strict=True):
            began = time.monotonic()
            self._do(fault)
            self._result.faults[fault.kind] = self._result.faults.get(fault.kind, 0) + 1
            done = time.monotonic()
            if after is not None and after.together:
                self._say(f"{fault.number:>4} {fault}: {done - began:.1f} s, the next at once")
                continue
            seconds = self._recovered(probes, feeder, str(fault.number))
            self._result.recovery_s.setdefault(fault.kind, []).append(round(seconds, 2))
            self._say(f"{fault.number:>4} {fault}: {done - began:.1f} s, recovered {seconds:.1f} s after")

    def _recovered(self, probes: Probes, feeder: Feeder, name: str) -> float:
        began = time.monotonic()
        ids = feeder.probe(name)
        wait_for(lambda: probes.back(ids), RECOVERY_S, f"the outcomes of probes {name}")
        return time.monotonic() - began

    # Faults.

    def _do(self, fault: Fault) -> None:
        how: dict[Kind, Callable[[], None]] = {
            "kill": lambda: self._herd.kill(fault.target),
            "freeze": lambda: self._freeze(fault),
            "usurp": lambda: self._usurp(fault),
            "step": lambda: self._step(fault.target, f"{fault.point}:{fault.passes}"),
            "add": self._add,
            "remove": self._remove,
            "host": lambda: self._host(fault),
            "rebuild": lambda: self._step(fault.target, f"{fault.point}:{fault.passes}"),
            "retention": self._retention,
            "remade": self._remade,
            "broker": lambda: self._broker(fault),
            "bounce": lambda: self._bounce(fault),
            "registry": lambda: self._registry(fault.seconds),
            "cut": self._proxy.cut,
            "delay": lambda: self._slow(fault.seconds),
            "half_open": lambda: self._stall(fault.seconds),
            "stuck": lambda: self._stuck(fault),
            "activate": self._activate,
            "rollback": self._rollback,
            "train": self._train,
            "govern_approved": lambda: self._govern("after_begin:1"),
            "govern_markers": lambda: self._govern("after_tracked:1"),
            "disk_full": lambda: self._disk_full(fault.seconds),
            "disk_read_only": lambda: self._disk_read_only(fault.seconds),
            "state_full": self._state_full,
            "state_read_only": self._state_read_only,
        }
        how[fault.kind]()

    def _freeze(self, fault: Fault) -> None:
        process = self._herd.freeze(fault.target)
        time.sleep(fault.seconds)
        process.send_signal(signal.SIGCONT)

    def _usurp(self, fault: Fault) -> None:
        zombie = self._herd.freeze(fault.target)
        self._herd.replace(fault.target)
        time.sleep(fault.seconds)
        zombie.send_signal(signal.SIGCONT)
        wait_for(lambda: zombie.poll() is not None, ZOMBIE_S, f"the zombie of {fault.target} to find itself fenced")
        assert zombie.poll() != 0, "a fenced worker ends with an error"

    def _step(self, worker: str, fault: str) -> None:
        process = self._herd.rearm(worker, fault)
        wait_for(lambda: process.poll() is not None, RECOVERY_S, f"{worker} to die at {fault}")

    def _add(self) -> None:
        self._spare += 1
        self._herd.add(f"infer-spare{self._spare}")

    def _remove(self) -> None:
        spares = sorted(n for n in self._herd.names() if n.startswith("infer-spare"))
        leaver = spares[0] if spares else "infer-0"
        self._herd.remove(leaver)
        if not spares:
            self._herd.add(leaver)

    def _host(self, fault: Fault) -> None:
        """Another host's workers come into every group, take their share, and are gone in one moment."""
        names = [f"{processor}-host{fault.number}" for processor in ("preprocess", "join", "infer")]
        for name in names:
            self._herd.add(name)
        wait_for(lambda: all('"assigned ' in self._platform.said(n) for n in names), RECOVERY_S, "the host's workers")
        time.sleep(fault.seconds)
        self._herd.lose(names)

    def _retention(self) -> None:
        """Records are dropped that preprocess, stopped, has not read. It must not go on before that is accepted."""
        topics, log = self._platform.topics, self._platform.log
        group, raw = f"{topics.pipeline.name}.preprocess", topics.tp("raw")
        self._herd.remove("preprocess-0")
        others = [name for name in self._herd.names() if name.startswith("preprocess-")]
        assert others == [], "no other worker reads raw"
        at = log.committed(group)[raw]
        wait_for(lambda: log.bounds(raw.topic)[0][1] > at + 2 * DROPPED, RECOVERY_S, "records that it has not read")
        drop_before(log, raw, at + DROPPED)
        deaths = self._herd.deaths["preprocess-0"]
        self._herd.add("preprocess-0")
        wait_for(lambda: self._herd.deaths["preprocess-0"] > deaths, RECOVERY_S, "preprocess to stop at what is gone")
        assert log.committed(group)[raw] == at, "nothing is passed over unasked"
        _insisted(lambda: accept_losses(topics, group, ("raw",), "chaos"))

    def _remade(self) -> None:
        """The topic of triggers is another of the same name. Who reads it must stop before that is accepted."""
        topics, log = self._platform.topics, self._platform.log
        readers = [name for name in ("retrain-0", "monitor-0") if name in self._herd.names()]
        before = {name: self._herd.deaths[name] for name in readers}
        delete_topic(log, topics.topic("triggers"))
        wait_for(lambda: _insisted(topics.init) == [topics.topic("triggers")], RECOVERY_S, "the topic to be made again")
        for name in readers:
            processor = name.split("-")[0]
            wait_for(lambda n=name: self._herd.deaths[n] > before[n], RECOVERY_S, f"{name} to stop")  # type: ignore[misc]
            group = f"{topics.pipeline.name}.{processor}"
            _insisted(lambda g=group, p=processor: accept_losses(topics, g, PROCESSORS[p].reads, "chaos"))  # type: ignore[misc]

    def _broker(self, fault: Fault) -> None:
        self._stack.kill_broker(int(fault.target))
        time.sleep(fault.seconds)
        self._stack.restart_broker(int(fault.target))

    def _bounce(self, fault: Fault) -> None:
        self._stack.stop_broker(int(fault.target))
        time.sleep(fault.seconds)
        self._stack.restart_broker(int(fault.target))

    def _registry(self, seconds: float) -> None:
        self._stack.stop_registry()
        time.sleep(seconds)
        self._stack.start_registry()

    def _slow(self, seconds: float) -> None:
        self._proxy.delay_s = DELAY_S
        time.sleep(seconds)
        self._proxy.delay_s = 0.0

    def _stall(self, seconds: float) -> None:
        self._proxy.stalled = True
        time.sleep(seconds)
        self._proxy.stalled = False

    def _stuck(self, fault: Fault) -> None:
        """A transaction nobody ends: the broker must, and readers get no further until then."""
        limit = {"transaction.timeout.ms": str(int(fault.seconds * 1000))}
        settings = self._platform.settings
        log = KafkaLog(settings.model_copy(update={"kafka": settings.kafka | limit}), "chaos-stuck")
        topics = self._platform.topics
        writer = log.writer(f"{topics.pipeline.name}.stuck.{fault.number}")
        writer.begin()
        writer.write_and_wait([Output(topics.tp("predictions", p), [b"k"], [b"never"]) for p in range(3)])
        self._stuck_writers.append(writer)  # kept: closing it would end its transaction

    def _disk_full(self, seconds: float) -> None:
        self._scratch.fill()
        try:
            self._approve()
            time.sleep(seconds)
        finally:
            self._scratch.free()
        self._ruled()

    def _disk_read_only(self, seconds: float) -> None:
        with self._scratch.covered():
            self._approve()
            time.sleep(seconds)
        self._ruled()

    def _state_full(self) -> None:
        self._broker_disk.fill()
        try:
            wait_for(lambda: not self._stack.broker_pids, RECOVERY_S, "the broker to give up")
        finally:
            self._broker_disk.free()
        self._stack.restart_broker()

    def _state_read_only(self) -> None:
        self._stack.kill_broker()
        self._broker_disk.read_only()
        try:
            with pytest.raises(StackError, match="Read-only file system"):
                self._stack.restart_broker()
        finally:
            self._broker_disk.writable()
        self._stack.restart_broker()

    def _approve(self) -> None:
        """Order a new champion in."""
        self._models += 1
        number = self._models
        _insisted(lambda: self._platform.activate(number))

    def _activate(self) -> None:
        self._models += 1
        ruling = _insisted(lambda: governance(self._platform.topics)).in_force
        shadows = [ruling.policy.champion] if ruling and self._models % 3 == 0 else []
        share = 40 if self._models % 3 == 1 else 100
        number = self._models
        _insisted(lambda: self._platform.activate(number, shadows=shadows, share=share))
        self._ruled()

    def _rollback(self) -> None:
        try:
            _insisted(lambda: order_rollback(self._platform.topics, "chaos", "a fault"))
        except ConfigError:  # there is nothing to go back to yet
            self._activate()
        else:
            self._ruled()

    def _train(self) -> None:
        _insisted(lambda: order_training(self._platform.topics, "chaos", "a fault"))

    def _govern(self, point: str) -> None:
        """Kill govern as it carries an approval out."""
        process = self._herd.rearm("govern-0", point)
        self._approve()
        wait_for(lambda: process.poll() is not None, RECOVERY_S, f"govern to die at {point}")
        self._ruled()

    def _ruled(self) -> None:
        wait_for(
            lambda: not _insisted(lambda: governance(self._platform.topics)).open_orders(),
            RECOVERY_S,
            "the order to be carried out",
        )

    # The end.

    def _caught_up(self) -> bool:
        """Whether every group has consumed the last record of each of its inputs."""
        topics, log = self._platform.topics, self._platform.log
        for processor, inputs in INPUTS.items():
            committed = log.committed(f"{topics.pipeline.name}.{processor}")
            for name in inputs:
                for p, end in log.high_watermarks(topics.topic(name)).items():
                    tp = topics.tp(name, p)
                    last = [c.next_offset for c in read_range(log, {tp: (max(0, end - TAIL), end)})]
                    if last and committed.get(tp, 0) < last[-1]:
                        return False
        return True

    def _examine(self) -> None:
        """Note how things stand when something was not got over: offsets here, threads in the logs."""
        topics, log = self._platform.topics, self._platform.log
        for process in (self._herd[name] for name in sorted(self._herd.names())):
            process.send_signal(signal.SIGUSR1)
        for pid in self._stack.broker_pids:
            os.kill(pid, signal.SIGQUIT)
        groups = [f"{topics.pipeline.name}.{processor}" for processor in INPUTS]
        for name, future in log._admin.describe_consumer_groups(groups).items():
            found = future.result(20)
            members = ", ".join(f"{m.client_id} {m.member_id}" for m in found.members)
            self._say(f"{name} is {found.state}: {members}")
        for name in ("raw", "features", "labels", "predictions", "outcomes"):
            ends, bounds = log.high_watermarks(topics.topic(name)), log.bounds(topics.topic(name))
            self._say(f"{name}: high watermarks {ends}, last stable offsets {[b[1] for b in bounds.values()]}")
        for processor in INPUTS:
            committed = log.committed(f"{topics.pipeline.name}.{processor}")
            self._say(f"{processor} has committed " + ", ".join(f"{tp} {o}" for tp, o in sorted(committed.items())))

    def _account(self) -> None:
        topics = self._platform.topics
        self._say("the audit reads the log")
        report = audit(topics, recompute)
        result = self._result
        result.records = report.lines["exactly_one", "preprocess, features"].checked
        result.answers = report.lines["exactly_one", "infer"].checked
        result.activations = report.lines["evidence", "activations"].checked
        result.restarts = dict(self._herd.deaths)
        result.violations = [f"{v.rule} {v.where}: {v.what}" for v in report.violations]
        result.audit = report.plain()


def _insisted(call: Callable[[], Any]) -> Any:
    """Call until Kafka and the registry answer."""
    deadline = time.monotonic() + RECOVERY_S
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            threading.Event().wait(0.2)
