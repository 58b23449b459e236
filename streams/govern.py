"""models, decisions, workers -> decisions and markers: gates run, approvals are checked, policies come into force."""

from __future__ import annotations

import hashlib
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.errors import Unavailable
from headrace.governance.catalog import Governance, Published, manifests_in, published
from headrace.governance.evidence import evidence_hash
from headrace.governance.replacement import rejected_line
from headrace.jobs.child import ChildError, ChildRunner
from headrace.jobs.gates.job import results, work
from headrace.jobs.kept import KeptRuns, Runner
from headrace.kafka.log import Chunk, Output, TopicPartition, read_all, read_range
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


def gates_in_children(spec: dict[str, Any]) -> ChildRunner[list[GateResult]]:
    """Runs the gates in child processes.

    Args:
        spec: what a child needs to connect as its parent does.
    """
    return ChildRunner(work, results, spec, NEEDED)


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
        gates: Runner[list[GateResult]],
        workers: Callable[[], set[str]],
        config: GovernConfig | None = None,
    ) -> None:
        self._topics = topics
        self._gates: KeptRuns[str, list[GateResult]] = KeptRuns(gates)
        self._workers = workers
        self._config = config or GovernConfig()
        self.inputs = tuple(topics.topic(t) for t in ("models", "decisions", "workers"))
        self._holds_all = False
        self._models: dict[str, Published] = {}
        self._state = Governance()
        self._statuses: dict[tuple[str, str], WorkerStatus] = {}
        self._seen = 0
        self._waiting_since: dict[int, float] = {}
        self._next_check = 0.0

    def assigned(self, tps: Sequence[TopicPartition]) -> None:
        self._models, self._state, self._statuses = {}, Governance(), {}
        self._waiting_since = {}
        self._seen = 0
        self._holds_all = {tp.topic for tp in tps} == set(self.inputs)
        if self._holds_all:
            self._topics.prepare("features", "decisions", "dead")
            self._gates.warm()
            for topic in self.inputs:
                # To the high watermark, past any transaction still open: a decision must not be taken twice.
                for chunk in read_all(self._topics.log, topic, limit=500, settled=True):
                    self._fold(chunk)
        self._gates.assigned(holds=self._holds_all, still=self._ungated)

    def process(self, batch: Chunk) -> Step:
        self._fold(batch)
        if self._topics.short(batch.tp.topic) == "workers":
            return IDLE
        damaged = [
            (place, "undecodable", reason)
            for place, reason in self._topics.damaged_control(batch)
            if not (batch.values[place] is None and self._topics.short(batch.tp.topic) == "models")  # a tombstone
        ]
        return Step(self._topics.dead(self.name, batch, damaged))

    def tick(self) -> Step:
        if not self._holds_all:
            return IDLE
        return self._gate_results() or self._carry_out_order() or self._mark_new_partitions() or IDLE

    def close(self) -> None:
        self._gates.close()

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
        if topic == "decisions":
            self._seen = max(self._seen, batch.next_offset)

    # Gates.

    def _ungated(self, model_id: str) -> bool:
        return model_id not in self._state.gates and model_id not in self._state.rejected

    def _gate_results(self) -> Step | None:
        """Have the oldest candidate without results go through the gates; write those that have come in."""
        model_id = next(filter(self._ungated, self._models), None)
        if model_id is None:
            return None
        try:
            verdicts = self._gates.result(model_id, {"candidate": model_id, "champion": self._champion()})
        except Unavailable as e:
            raise Unavailable(f"gates of model {model_id[:12]}: {e}") from None
        except ChildError as e:
            return self._decide([Rejection(model_id=model_id, by="gates", reason=f"the gates could not run: {e}")])
        if verdicts is None:
            return None
        self._gates.warm()
        records: list[Record] = list(verdicts)
        for r in verdicts:
            log.info("gate %s on %s: %s, %s", r.gate, model_id[:12], "passed" if r.passed else "failed", r.summary)
        if blocked := [r for r in verdicts if not r.passed and r.mode == "block"]:
            reason = "; ".join(f"gate {r.gate}: {r.summary}" for r in blocked)
            records.append(Rejection(model_id=model_id, by="gates", reason=reason))
        return self._decide(records)

    def _champion(self) -> str | None:
        return self._state.in_force.policy.champion if self._state.in_force else None

    # Orders.

    def _carry_out_order(self) -> Step | None:
        """Carry out the most urgent open order, refuse it, or go on waiting for the workers."""
        found = next(iter(self._state.open_orders().items()), None)
        if found is None:
            return None
        offset, order = found
        policy, champion, why_not = self._judged(order)
        if why_not:
            return self._refuse({offset: (champion, why_not)})
        assert policy is not None
        since = self._waiting_since.setdefault(offset, time.monotonic())
        missing, broken = self._readiness(policy)
        if broken:
            return self._refuse({offset: (champion, broken)})
        if isinstance(order, RolledBack) and (overtaken := self._overtaken(offset, order)):
            return self._refuse(overtaken)
        if missing and time.monotonic() - since < self._config.load_timeout:
            return None
        if self._read_on():
            return None  # judged anew, with what has come
        if missing:
            log.warning("activating though %s have not loaded: they pause at the marker", ", ".join(missing))
        reason = "approval" if isinstance(order, Approval) else "rollback"
        evidence = order.evidence_hash if isinstance(order, Approval) else ""
        partitions = range(self._topics.log.partitions(self._topics.topic("features")))
        return self._activate(policy, offset, reason, evidence, list(partitions))

    def _read_on(self) -> bool:
        """Fold in the decisions that the group has not brought yet, as a rejection of what is about to rule; gives
        whether there were any."""
        before = self._seen
        for chunk in read_range(self._topics.log, {self._topics.tp("decisions"): (before, sys.maxsize)}):
            self._fold(chunk)
        return self._seen > before

    def _overtaken(self, offset: int, order: RolledBack) -> dict[int, tuple[str, str]]:
        """The open orders from before a rollback, each with why it is refused: it must not undo the rollback."""
        why = f"overtaken by the rollback ordered by {order.by}: order it anew if it is still wanted"
        before = ((o, asked) for o, asked in self._state.open_orders().items() if o < offset)
        return {o: (asked.model_id if isinstance(asked, Approval) else "", why) for o, asked in before}

    def _judged(self, order: Approval | RolledBack) -> tuple[Policy | None, str, str]:
        """The policy an order asks for, its champion, and why it is refused (empty: it is not)."""
        if isinstance(order, RolledBack):
            earlier, policy = self._state.activations.get(order.activation_id), self._state.asked_for(order)
            if earlier is None:
                return None, "", f"there was no activation {order.activation_id}"
            if policy is None:
                return None, earlier.policy.champion, "it leaves out the champion of the policy that it goes back to"
            return policy, policy.champion, rejected_line(self._state, policy)
        gates = self._state.gates.get(order.model_id)
        champion = order.model_id
        if order.policy.champion != champion and all(r.model_id != champion for r in order.policy.routes):
            return None, champion, "its policy does not name the model it approves"
        if any(m not in self._models for m in order.policy.models):
            # The order may have come past a manifest that it follows on another topic: read that to its end.
            self._models = published(self._topics, settled=True) | self._models
        if unknown := [m for m in order.policy.models if m not in self._models]:
            return None, champion, f"its policy names a model that was never published: {unknown[0][:12]}"
        if rejected := rejected_line(self._state, order.policy):
            return None, champion, rejected
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

    def _refuse(self, orders: dict[int, tuple[str, str]]) -> Step:
        """Refuse orders, given as offset -> champion and why."""
        for offset, (_, why) in orders.items():
            log.warning("order at decisions offset %d refused: %s", offset, why)
        return self._decide(
            [
                Rejection(model_id=model_id, by="govern", reason=why, order_offset=offset)
                for offset, (model_id, why) in orders.items()
            ]
        )

    # Activation.

    def _mark_new_partitions(self) -> Step | None:
        """Give partitions that were added since the last activation a marker of the policy in force."""
        in_force = self._state.in_force
        if in_force is None or time.monotonic() < self._next_check:
            return None
        self._next_check = time.monotonic() + self._config.partition_check
        if rejected := rejected_line(self._state, in_force.policy):
            log.warning("%s, and still answers: partitions added wait until another policy is ordered", rejected)
            return None
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
