"""The decisions held against each other: every activation follows an order, every approval its evidence."""

from __future__ import annotations

from collections.abc import Iterable

from headrace.governance.catalog import Governance
from headrace.governance.evidence import evidence_hash
from headrace.governance.replacement import rejected_line
from headrace.query.audit.report import Report
from headrace.schema.records import Activated, Approval, Record, Rejection, RolledBack, WorkerStatus


def decided(report: Report, topic: str, decisions: Iterable[tuple[int, Record]]) -> Governance:
    """Go through the decisions in log order; gives what they come to."""
    state = Governance()
    rejected_at: dict[str, int] = {}
    for offset, record in decisions:
        if isinstance(record, Activated):
            report.checked("evidence", "activations", 1)
            if why := _unfounded(record, state):
                report.broken("evidence", "activations", (topic, 0), [offset], why)
        if isinstance(record, Rejection) and record.order_offset is None:
            report.checked("evidence", "rejections", 1)
            rejected_at[record.model_id] = offset
        state.take(offset, record)
    for model in state.ruling_though_rejected():
        what = f"model {model[:12]} is rejected and still in force, and nothing is ordered in its place"
        report.broken("evidence", "rejections", (topic, 0), [rejected_at[model]], what)
    return state


def refused_elsewhere(report: Report, topic: str, statuses: Iterable[tuple[int, Record]], scored: set[str]) -> None:
    """No model that scored was rejected by every worker that tried to load it."""
    states: dict[str, set[str]] = {}
    last: dict[str, tuple[int, str]] = {}
    for offset, record in statuses:
        if isinstance(record, WorkerStatus):
            states.setdefault(record.model_id, set()).add(record.state)
            last[record.model_id] = (offset, record.reason)
    report.checked("policy", "models loaded by workers", len(states))
    for model in sorted(scored & {m for m, s in states.items() if s == {"REJECTED"}}):
        offset, reason = last[model]
        what = f"model {model[:12]} has scored records, and every worker rejects it: {reason}"
        report.broken("policy", "models loaded by workers", (topic, 0), [offset], what)


def _unfounded(activated: Activated, before: Governance) -> str:
    """Why the decisions before an activation do not bear it out; empty: they do."""
    order = before.orders.get(activated.order_offset)
    known = f"activation {activated.activation_id}"
    if order is None:
        return f"{known} names an order at offset {activated.order_offset}, where there is none before it"
    if activated.order_offset in before.refused:
        return f"{known} carries out an order that was refused"
    if isinstance(order, RolledBack):
        earlier = before.activations.get(order.activation_id)
        if earlier is None:
            return f"{known} goes back to activation {order.activation_id}, which there was not"
        if before.asked_for(order) != activated.policy:
            return f"{known} goes back to another policy than it names"
        why = rejected_line(before, activated.policy)
        return f"{known} goes back to a model that must not come back: {why}" if why else ""
    return _unapproved(known, activated, order, before)


def _unapproved(known: str, activated: Activated, order: Approval, before: Governance) -> str:
    if order.policy != activated.policy:
        return f"{known} puts another policy in force than {order.by} approved"
    if activated.evidence_hash != order.evidence_hash:
        return f"{known} names other evidence than the approval by {order.by}"
    gates = before.gates.get(order.model_id, {})
    if order.evidence_hash != evidence_hash(gates.values()):
        return f"the approval by {order.by} was given on other evidence than the gate results before it"
    if why := rejected_line(before, order.policy):
        return f"{known} puts a model in force that must not be: {why}"
    if blocked := [g.gate for g in gates.values() if not g.passed and g.mode == "block"]:
        return f"{known} puts a model in force that gate {blocked[0]} blocks"
    return ""
