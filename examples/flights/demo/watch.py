"""What the control topics say, as it happens: triggers, models, gates, activations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from headrace.governance.catalog import Governance, Published, manifests_in
from headrace.schema.records import (
    Activated,
    Approval,
    DeadLetter,
    GateResult,
    ModelManifest,
    Record,
    Rejection,
    TrainingTrigger,
)
from headrace.topics.pipeline_topics import PipelineTopics

Event = TrainingTrigger | ModelManifest | GateResult | Approval | Rejection | Activated | DeadLetter


@dataclass
class ControlWatch:
    """Follows triggers, models, decisions and dead triggers from their beginnings.

    Attributes:
        state: the decisions so far.
        models: the models published so far.
        triggers: the triggers so far, by id.
        failed: triggers that became dead letters.
    """

    topics: PipelineTopics
    state: Governance = field(default_factory=Governance)
    models: dict[str, Published] = field(default_factory=dict)
    triggers: dict[str, TrainingTrigger] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        names = ("triggers", "models", "decisions", "dead")
        self._reader = self.topics.log.reader({self.topics.tp(n): 0 for n in names})

    def poll(self, timeout: float = 0.0) -> Iterator[Event]:
        """What is new, in the order each topic holds it."""
        for chunk in self._reader.poll(500, timeout):
            if self.topics.short(chunk.tp.topic) == "models":
                for model_id, found in manifests_in(self.topics, chunk).items():
                    self.models[model_id] = found
                    yield found.manifest
                continue
            for offset, record in self.topics.control_records(chunk):
                self._take(offset, record)
                if isinstance(record, Event) and not self._other_letter(record):
                    yield record

    def making(self) -> bool:
        """Whether a model is on its way: a trigger without a model, or a model neither ruling nor rejected."""
        trained = {p.manifest.lineage.trigger_id for p in self.models.values()}
        if self.triggers.keys() - trained - self.failed:
            return True
        ruled = {a.model_id for a in self.state.activations.values()}
        return any(m not in ruled and m not in self.state.rejected for m in self.models)

    def waiting(self) -> list[str]:
        """Models that passed their gates and wait for a person."""
        ordered = {o.model_id for o in self.state.orders.values() if isinstance(o, Approval)}
        return [m for m in self.state.gates if m not in self.state.rejected and m not in ordered]

    def close(self) -> None:
        """Stop following."""
        self._reader.close()

    def _other_letter(self, record: Event) -> bool:
        return isinstance(record, DeadLetter) and record.topic != self.topics.topic("triggers")

    def _take(self, offset: int, record: Record) -> None:
        if isinstance(record, TrainingTrigger):
            self.triggers[record.trigger_id] = record
        elif isinstance(record, DeadLetter):
            if record.topic == self.topics.topic("triggers"):
                trigger = self.topics.codec("triggers").decode_control(record.value)
                assert isinstance(trigger, TrainingTrigger)
                self.failed.add(trigger.trigger_id)
        else:
            self.state.take(offset, record)
