"""Decisions of people: a training, an approval, a rejection, a rollback. Each is one record on the log.

A decision is checked against all earlier ones: transactions that are open when it is made are waited for.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

from headrace.errors import ConfigError
from headrace.governance.catalog import Governance, governance, published, resolve_model
from headrace.governance.evidence import Evidence
from headrace.governance.replacement import Ruling, going_back, possible, replacement
from headrace.schema.records import (
    FULL,
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
    share: int = FULL,
    skip_backlog: bool = False,
    note: str = "",
) -> Approval:
    """Approve a candidate on the gate results that were shown.

    Args:
        topics: the pipeline's topics.
        model: model id, or as much of its start as is unique.
        by: who approves.
        evidence: hash of the gate results that were shown (see :func:`shown_evidence`).
        shadows: models to score beside it, never to answer.
        share: percent of the answers it gives; the champion in force gives the rest. Which ids it answers is drawn
            anew with each experiment; another share of a candidate that answers already keeps its ids.
        skip_backlog: whether the records from before the first marker are passed over, not scored.
        note: why.

    Raises:
        ConfigError: no such model, no gate results yet, others than were shown, no champion to share with, or no
            backlog to skip.
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
    if skip_backlog and state.in_force is not None:
        raise ConfigError(
            f"there is no backlog to skip: since activation {next(iter(state.activations))} no record waits for "
            "a first policy; only the first approval of a pipeline has one"
        )
    routes = _routes(state, model_id, share)
    policy = Policy(
        routes=routes,
        shadows=[resolve_model(models, s) for s in shadows],
        salt=_salt(state, routes),
        backlog="SKIP" if skip_backlog else "SCORE",
    )
    approval = Approval(model_id=model_id, by=by, evidence_hash=found.hash, policy=policy, note=note)
    write_control(topics, "decisions", [approval], [model_id])
    return approval


class Rejected(NamedTuple):
    """A rejection, and the order for what rules in the model's place.

    Attributes:
        rejection: of the model.
        instead: the order in the same transaction; None: the model did not rule.
    """

    rejection: Rejection
    instead: RolledBack | None


def to_be_replaced(topics: PipelineTopics, model: str) -> list[Activated] | None:
    """What may rule in the place of a model, latest first, where a rejection of it has to say; None: it need not.

    Raises:
        ConfigError: no such model.
    """
    model_id = resolve_model(published(topics, settled=True), model)
    state = governance(topics, settled=True)
    ruling = Ruling.of(state)
    if ruling is None or ruling.policy.champion != model_id:
        return None
    state.take(-1, Rejection(model_id=model_id, by="", reason=""))
    return list(state.earlier())


def order_rejection(topics: PipelineTopics, model: str, by: str, reason: str, instead: str = "") -> Rejected:
    """Reject a model for good; where it rules, order in the same transaction what rules in its place.

    Args:
        topics: the pipeline's topics.
        model: model id, or as much of its start as is unique.
        by: who rejects.
        reason: why.
        instead: where the model rules, the activation whose policy rules in its place (as much of its id as is unique),
            or ``previous``: the latest of another policy with no rejected model. Empty: the policy in force without
            the model, where that is not the champion.

    Raises:
        ConfigError: no such model; it rules and it is not said, or cannot be, what rules instead; or it came into
            force while it was rejected.
    """
    model_id = resolve_model(published(topics, settled=True), model)
    rejection = Rejection(model_id=model_id, by=by, reason=reason)
    order = replacement(governance(topics, settled=True), rejection, instead)
    records = [rejection] if order is None else [rejection, order]
    write_control(topics, "decisions", records, [model_id] * len(records))
    after = governance(topics, settled=True)
    if model_id in after.ruling_though_rejected():
        raise ConfigError(
            f"model {model_id[:12]} is rejected, but came into force at this moment and still answers: reject it "
            f"again and say what rules instead; {possible(after)}"
        )
    return Rejected(rejection, order)


def order_rollback(topics: PipelineTopics, by: str, reason: str, to: str = "") -> RolledBack:
    """Order an earlier policy back into force: that of activation ``to``, or the latest other one none of whose models
    is rejected. It goes ahead of every order that is open; those are refused.

    Raises:
        ConfigError: there is no such activation, or one of its models is rejected.
    """
    earlier = going_back(governance(topics, settled=True), to)
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
    if share == FULL:
        return [Route(model_id=model_id, weight=FULL)]
    if state.in_force is None:
        raise ConfigError("there is no champion to share the answers with: approve with the full share first")
    if not 0 < share < FULL:
        raise ConfigError(f"a share is 1 to 100 percent, not {share}")
    for order in state.open_orders().values():
        if isinstance(order, RolledBack):
            raise ConfigError(
                f"the rollback ordered by {order.by} is not in force yet, so there is no champion to share with: "
                "approve again once it is"
            )
    champion = state.in_force.policy.champion
    if champion in state.rejected:
        raise ConfigError(
            f"the champion {champion[:12]} is rejected, there is nothing to share the answers with: approve with the "
            "full share, or roll back first"
        )
    return [Route(model_id=champion, weight=FULL - share), Route(model_id=model_id, weight=share)]


def _salt(state: Governance, routes: Sequence[Route]) -> str:
    """A new draw of ids for each experiment; the one in force for another share of the same models. One model needs
    none."""
    names = [r.model_id for r in routes]
    if len(names) == 1:
        return ""
    in_force = state.in_force.policy if state.in_force is not None else None
    if in_force is not None and [r.model_id for r in in_force.routes] == names:
        return in_force.salt
    return f"{names[-1][:12]}-{uuid.uuid4().hex}"
