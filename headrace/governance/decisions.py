"""Decisions of people: a training, an approval, a rejection, a rollback. Each is one record on the log.

A decision is checked against all earlier ones: transactions that are open when it is made are waited for.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from headrace.errors import ConfigError
from headrace.governance.catalog import Governance, governance, published, resolve_model
from headrace.governance.evidence import Evidence
from headrace.schema.records import (
    Activated,
    Approval,
    OffsetRange,
    Policy,
    Rejection,
    RolledBack,
    Route,
    TrainingTrigger,
)
from headrace.topics.control import write_control
from headrace.topics.pipeline_topics import PipelineTopics


def every_example(topics: PipelineTopics) -> list[OffsetRange]:
    """The ranges of every example there is now.

    Raises:
        ConfigError: there are none yet.
    """
    bounds = topics.log.bounds(topics.topic("examples"))
    if all(start == stop for start, stop in bounds.values()):
        raise ConfigError(
            f"{topics.topic('examples')} is empty: push events and run `headrace run join` before training"
        )
    return [OffsetRange(partition=p, start=a, stop=b) for p, (a, b) in bounds.items()]


def order_training(topics: PipelineTopics, by: str, detail: str, reason: str = "person") -> TrainingTrigger:
    """Ask for a training on every example there is now.

    Raises:
        ConfigError: there are no examples yet.
    """
    trigger = TrainingTrigger.model_validate(
        {
            "trigger_id": uuid.uuid4().hex[:12],
            "reason": reason,
            "detail": detail,
            "requester": by,
            "event_time": topics.newest_event_time("examples"),
            "ranges": every_example(topics),
        }
    )
    write_control(topics, "triggers", [trigger], [trigger.trigger_id])
    return trigger


def shown_evidence(topics: PipelineTopics, model: str) -> Evidence:
    """The gate results of a model, to be shown to the person who approves it on them.

    Raises:
        ConfigError: no such model, or it has been through no gate yet.
    """
    model_id = resolve_model(published(topics, settled=True), model)
    return _evidence(governance(topics, settled=True), model_id)


def order_approval(
    topics: PipelineTopics,
    model: str,
    by: str,
    *,
    evidence: str,
    shadows: Sequence[str] = (),
    share: int = 100,
    note: str = "",
) -> Approval:
    """Approve a candidate on the gate results that were shown.

    Args:
        topics: the pipeline's topics.
        model: model id, or as much of its start as is unique.
        by: who approves.
        evidence: hash of the gate results that were shown (see :func:`shown_evidence`).
        shadows: models to score beside it, never to answer.
        share: percent of the answers it gives; the champion in force gives the rest.
        note: why.

    Raises:
        ConfigError: no such model, no gate results yet, others than were shown, or no champion to share with.
    """
    state, models = governance(topics, settled=True), published(topics, settled=True)
    model_id = resolve_model(models, model)
    found = _evidence(state, model_id)
    if found.hash != evidence:
        raise ConfigError(
            f"model {model_id[:12]} now has other gate results than were shown (evidence {found.hash[:12]}, "
            f"not {evidence[:12]}): look at them, then approve again"
        )
    if model_id in state.rejected:
        raise ConfigError(f"model {model_id[:12]} is rejected: {state.rejected[model_id].reason}")
    policy = Policy(
        routes=_routes(state, model_id, share),
        shadows=[resolve_model(models, s) for s in shadows],
        salt=topics.pipeline.name,
    )
    approval = Approval(model_id=model_id, by=by, evidence_hash=found.hash, policy=policy, note=note)
    write_control(topics, "decisions", [approval], [model_id])
    return approval


def order_rejection(topics: PipelineTopics, model: str, by: str, reason: str) -> Rejection:
    """Reject a candidate for good."""
    model_id = resolve_model(published(topics, settled=True), model)
    rejection = Rejection(model_id=model_id, by=by, reason=reason)
    write_control(topics, "decisions", [rejection], [rejection.model_id])
    return rejection


def order_rollback(topics: PipelineTopics, by: str, reason: str, to: str = "") -> RolledBack:
    """Order an earlier policy back into force: that of activation ``to``, or the one before the present one.

    Raises:
        ConfigError: there is no such activation.
    """
    activations = list(governance(topics, settled=True).activations.values())
    earlier = _activation(activations, to)
    order = RolledBack(activation_id=earlier.activation_id, by=by, reason=reason)
    write_control(topics, "decisions", [order], [earlier.model_id])
    return order


def _evidence(state: Governance, model_id: str) -> Evidence:
    gates = state.gates.get(model_id)
    if not gates:
        raise ConfigError(
            f"model {model_id[:12]} has not been through the gates yet: is `headrace run govern` running?"
        )
    return Evidence.of(model_id, gates.values())


def _routes(state: Governance, model_id: str, share: int) -> list[Route]:
    if share == 100:
        return [Route(model_id=model_id, weight=100)]
    if state.in_force is None:
        raise ConfigError("there is no champion to share the answers with: approve with the full share first")
    if not 0 < share < 100:
        raise ConfigError(f"a share is 1 to 100 percent, not {share}")
    champion = state.in_force.policy.champion
    return [Route(model_id=champion, weight=100 - share), Route(model_id=model_id, weight=share)]


def _activation(activations: list[Activated], wanted: str) -> Activated:
    if wanted:
        found = [a for a in activations if a.activation_id.startswith(wanted)]
        if len(found) != 1:
            known = ", ".join(a.activation_id for a in activations) or "none"
            raise ConfigError(f"no one activation starts with {wanted!r}; there were: {known}")
        return found[0]
    in_force = activations[-1].policy if activations else None
    earlier = [a for a in activations if a.policy != in_force]
    if not earlier:
        raise ConfigError("there is no earlier policy to roll back to")
    return earlier[-1]
