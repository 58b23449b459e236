"""Decisions on models as people read them: gates, approvals, rejections, activations, rollbacks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from headrace.schema.records import Activated, Approval, GateResult, Record, Rejection, RolledBack
from headrace.topics.pipeline_topics import PipelineTopics


@dataclass(frozen=True)
class Decision:
    """One decision as a line."""

    at: datetime
    kind: str
    model_id: str
    by: str
    what: str


def decisions(topics: PipelineTopics) -> list[Decision]:
    """Every decision of a pipeline, in log order."""
    return [decision(record) for _, record in topics.read_control("decisions")]


def decision(record: Record) -> Decision:
    """A decision as people read it."""
    match record:
        case GateResult():
            said = f"{record.gate} {'passed' if record.passed else 'FAILED'}: {record.summary}"
            return Decision(record.at, "gate", record.model_id, "", said)
        case Approval():
            return Decision(record.at, "approved", record.model_id, record.by, record.note)
        case Rejection():
            return Decision(record.at, "rejected", record.model_id, record.by, record.reason)
        case Activated():
            return Decision(record.at, "activated", record.model_id, "", record.reason)
        case RolledBack():
            left_out = ", ".join(m[:12] for m in record.without)
            said = f"{record.reason} (without {left_out})" if left_out else record.reason
            return Decision(record.at, "rollback", "", record.by, said)
    raise AssertionError(f"{type(record).__name__} is no decision")
