"""models, decisions, workers -> decisions and markers: gates run, approvals are checked, policies come into force."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headrace.errors import Unavailable
from headrace.governance.catalog import Governance, Published, manifests_in, published
from headrace.governance.evidence import evidence_hash
from headrace.jobs.child import ChildError, ChildJob, JobStarter
from headrace.jobs.gates.job import results, work
from headrace.kafka.log import Chunk, Output, TopicPartition, read_all
from headrace.schema.records import (
    Activated,
    Approval,
    GateResult,
    PartitionOffset,
    Policy,
    PolicyMarker,
    Record,
    Rejection,
    RolledBack,
    WorkerStatus,
)
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.processor import IDLE, Stateless, Step

log = logging.getLogger("headrace.govern")
NEEDED = ("headrace.jobs.gates.job", "headrace.jobs.gates.gates", "headrace.jobs.train.dataset", "sklearn.metrics")
"""What the gates import."""


class GateRun(Protocol):
    """Gates at work on one candidate."""

    def results(self) -> list[GateResult] | None:
        """The verdicts, or None while they are not all in. Raises ChildError when they cannot be had."""

    def close(self) -> None: ...


class ChildGates:
    """Gates in a child process."""

    def __init__(self, job: ChildJob) -> None:
        self._job = job

    def results(self) -> list[GateResult] | None:
        return results(self._job.folder) if self._job.done() else None

    def close(self) -> None:
        self._job.close()


class GateRunner(Protocol):
    """Starts the gates."""

    def warm(self) -> None:
        """Make ready for the next candidate."""

    def start(self, candidate: str, champion: str | None) -> GateRun:
        """Begin the gates of a candidate (model id) against a champion (model id, or none)."""


class ChildGateRunner:
    """Runs the gates in child processes.

    Args:
        spec: what a child needs to connect as its parent does.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._starter = JobStarter(work, *NEEDED)

    def warm(self) -> None:
        self._starter.warm()

    def start(self, candidate: str, champion: str | None) -> GateRun:
        return ChildGates(self._starter.start({**self._spec, "candidate": candidate, "champion": champion}))


@dataclass(frozen=True)
class GovernConfig:
    """How long an activation waits for the workers to load its models, and how often new partitions are looked for.

    When a worker has not answered in ``load_timeout`` seconds the activation goes ahead: a worker without the
    model pauses at the marker, so no record is ever scored by another one.
    """

    load_timeout: float = 30.0
    partition_check: float = 2.0


class Govern(Stateless):
    """Folds the control topics and acts on what they say, one act a turn, each in one transaction.

    Args:
        topics: the pipeline's topics.
        gates: runs the gates of candidates.
        workers: names of the live inference workers.
    """

    name = "govern"
    atomic = False
    tracks = True

    def __init__(
        self,
        topics: PipelineTopics,
        gates: GateRunner,
        workers: Callable[[], set[str]],
        config: GovernConfig | None = None,
    ) -> None:
        self._topics = topics
        self._gates = gates
        self._workers = workers
        self._config = config or GovernConfig()
        self.inputs = tuple(topics.topic(t) for t in ("models", "decisions", "workers"))
        self._holds_all = False
        self._models: dict[str, Published] = {}
        self._state = Governance()
        self._statuses: dict[tuple[str, str], WorkerStatus] = {}
        self._gating: tuple[str, GateRun] | None = None
        self._waiting_since: dict[int, float] = {}
        self._next_check = 0.0

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._end_gates()
        self._models, self._state, self._statuses = {}, Governance(), {}
        self._waiting_since = {}
        self._holds_all = {tp.topic for tp in tps} == set(self.inputs)
        if self._holds_all:
            self._topics.prepare("features", "decisions", "dead")
            self._gates.warm()
            for topic in self.inputs:
                # To the high watermark, past any transaction still open: a decision must not be taken twice.
                for chunk in read_all(self._topics.log, topic, limit=500, settled=True):
                    self._fold(chunk)

    def process(self, batch: Chunk) -> Step:
        self._fold(batch)
        if self._topics.short(batch.tp.topic) == "workers":
            return IDLE
        damaged = [(place, "undecodable", reason) for place, reason in self._topics.damaged_control(batch)]
        return Step(self._topics.dead(self.name, batch, damaged))

    def tick(self) -> Step:
        if not self._holds_all:
            return IDLE
        return self._gate_results() or self._carry_out_order() or self._mark_new_partitions() or IDLE

    def close(self) -> None:
        self._end_gates()

    def _fold(self, batch: Chunk) -> None:
        topic = self._topics.short(batch.tp.topic)
        if topic == "models":
            self._models = manifests_in(self._topics, batch) | self._models
            return
        for offset, record in self._topics.control_records(batch):
            if isinstance(record, WorkerStatus):
                self._statuses[record.worker_id, record.model_id] = record
            else:
                self._state.take(offset, record)

    # Gates.

    def _gate_results(self) -> Step | None:
        """Start the gates of the oldest candidate without results, or write those that have come in."""
        if self._gating is None:
            waiting = [m for m in self._models if m not in self._state.gates and m not in self._state.rejected]
            if waiting:
                champion = self._state.in_force.policy.champion if self._state.in_force else None
                self._gating = (waiting[0], self._gates.start(waiting[0], champion))
            return None
        model_id, run = self._gating
        try:
            verdicts = run.results()
        except ChildError as e:
            self._end_gates()
            if e.kind == "Unavailable":
                raise Unavailable(f"gates of model {model_id[:12]}: {e}") from None
            return self._decide([Rejection(model_id=model_id, by="gates", reason=f"the gates could not run: {e}")])
        if verdicts is None:
            return None
        self._end_gates()
        self._gates.warm()
        records: list[Record] = list(verdicts)
        for r in verdicts:
            log.info("gate %s on %s: %s, %s", r.gate, model_id[:12], "passed" if r.passed else "failed", r.summary)
        if blocked := [r for r in verdicts if not r.passed and r.mode == "block"]:
            reason = "; ".join(f"gate {r.gate}: {r.summary}" for r in blocked)
            records.append(Rejection(model_id=model_id, by="gates", reason=reason))
        return self._decide(records)

    def _end_gates(self) -> None:
        if self._gating is not None:
            self._gating[1].close()
            self._gating = None

    # Orders.

    def _carry_out_order(self) -> Step | None:
        """Carry out the oldest open order, refuse it, or go on waiting for the workers."""
        for offset, order in self._state.open_orders().items():
            policy, champion, why_not = self._judged(order)
            if why_not:
                return self._refuse(offset, champion, why_not)
            assert policy is not None
            since = self._waiting_since.setdefault(offset, time.monotonic())
            missing, broken = self._readiness(policy)
            if broken:
                return self._refuse(offset, champion, broken)
            if missing and time.monotonic() - since < self._config.load_timeout:
                return None
            if missing:
                log.warning("activating though %s have not loaded: they pause at the marker", ", ".join(missing))
            reason = "approval" if isinstance(order, Approval) else "rollback"
            evidence = order.evidence_hash if isinstance(order, Approval) else ""
            partitions = range(self._topics.log.partitions(self._topics.topic("features")))
            return self._activate(policy, offset, reason, evidence, list(partitions))
        return None

    def _judged(self, order: Approval | RolledBack) -> tuple[Policy | None, str, str]:
        """The policy an order asks for, its champion, and why it is refused (empty: it is not)."""
        if isinstance(order, RolledBack):
            earlier = self._state.activations.get(order.activation_id)
            if earlier is None:
                return None, "", f"there was no activation {order.activation_id}"
            return earlier.policy, earlier.policy.champion, ""
        gates = self._state.gates.get(order.model_id)
        champion = order.model_id
        if order.policy.champion != champion and all(r.model_id != champion for r in order.policy.routes):
            return None, champion, "its policy does not name the model it approves"
        if any(m not in self._models for m in order.policy.models):
            # The order may have come past a manifest that it follows on another topic: read that to its end.
            self._models = published(self._topics, settled=True) | self._models
        if unknown := [m for m in order.policy.models if m not in self._models]:
            return None, champion, f"its policy names a model that was never published: {unknown[0][:12]}"
        if rejected := [m for m in order.policy.models if m in self._state.rejected]:
            return None, champion, f"model {rejected[0][:12]} is rejected: {self._state.rejected[rejected[0]].reason}"
        if gates is None:
            return None, champion, "the gates have not judged the model yet"
        if order.evidence_hash != evidence_hash(gates.values()):
            return None, champion, "it was given on other evidence than the gate results on the log"
        return order.policy, champion, ""

    def _readiness(self, policy: Policy) -> tuple[list[str], str]:
        """Workers that have not loaded every model, and the first worker's reason where one rejects a model."""
        missing = []
        for worker in sorted(self._workers()):
            states = [self._statuses.get((worker, model)) for model in policy.models]
            for status in states:
                if status is not None and status.state == "REJECTED":
                    return [], f"worker {worker} rejects model {status.model_id[:12]}: {status.reason}"
            if any(status is None for status in states):
                missing.append(worker)
        return missing, ""

    def _refuse(self, offset: int, model_id: str, reason: str) -> Step:
        log.warning("order at decisions offset %d refused: %s", offset, reason)
        return self._decide([Rejection(model_id=model_id, by="govern", reason=reason, order_offset=offset)])

    # Activation.

    def _mark_new_partitions(self) -> Step | None:
        """Give partitions that were added since the last activation a marker of the policy in force."""
        in_force = self._state.in_force
        if in_force is None or time.monotonic() < self._next_check:
            return None
        self._next_check = time.monotonic() + self._config.partition_check
        known = self._state.timeline.marked_partitions()
        added = [p for p in range(self._topics.log.partitions(self._topics.topic("features"))) if p not in known]
        if not added:
            return None
        order, evidence = in_force.order_offset, in_force.evidence_hash
        return self._activate(in_force.policy, order, "partitions added", evidence, added)

    def _activate(self, policy: Policy, order: int, reason: str, evidence: str, partitions: list[int]) -> Step:
        """Markers into every partition and, once their offsets are known, the record that names them."""
        named = f"{self._topics.pipeline.name}:{order}:{reason}:{partitions}"
        activation_id = hashlib.sha256(named.encode()).hexdigest()[:16]
        marker = PolicyMarker(activation_id=activation_id, policy=policy)
        name = self._topics.pipeline.name

        def activated(offsets: list[list[int]]) -> list[Output]:
            placed = [PartitionOffset(partition=p, offset=o[0]) for p, o in zip(partitions, offsets, strict=True)]
            record = Activated(
                activation_id=activation_id,
                model_id=policy.champion,
                policy=policy,
                markers=placed,
                reason=reason,
                order_offset=order,
                evidence_hash=evidence,
            )
            self._state.take(-1, record)
            log.info("activated %s (%s): markers %s", policy.champion[:12], reason, placed)
            return [self._topics.control("decisions", [record], [record.model_id])]

        markers = [self._topics.control("features", [marker], [name], partition=p) for p in partitions]
        return Step(markers, tracked=activated)

    def _decide(self, records: Sequence[Record]) -> Step:
        """Write decisions; they count from now on, before they are read back."""
        for record in records:
            self._state.take(-1, record)
        keys = [str(getattr(r, "model_id", "")) for r in records]
        return Step([self._topics.control("decisions", records, keys)])
