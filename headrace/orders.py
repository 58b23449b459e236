"""What people order: a training, an approval, a rejection, a rollback. Each is one record on the log.

An order is weighed against all that was decided before it: transactions still open then are waited for.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from headrace.errors import ConfigError
from headrace.log.base import Output, read_range
from headrace.log.pipeline_log import PipelineLog
from headrace.models.catalog import Governance, Published, governance, published
from headrace.models.evidence import evidence_hash
from headrace.records import (
    Activated,
    Approval,
    OffsetRange,
    Policy,
    Record,
    Rejection,
    RolledBack,
    Route,
    TrainingTrigger,
)

_TAIL = 200


def every_example(topics: PipelineLog) -> list[OffsetRange]:
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


def order_training(topics: PipelineLog, by: str, detail: str, reason: str = "person") -> TrainingTrigger:
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
            "event_time": newest_event_time(topics, "examples"),
            "ranges": every_example(topics),
        }
    )
    write(topics, "triggers", [trigger], [trigger.trigger_id])
    return trigger


def order_approval(
    topics: PipelineLog, model: str, by: str, *, shadows: Sequence[str] = (), share: int = 100, note: str = ""
) -> Approval:
    """Approve a candidate on the gate results on the log.

    Args:
        topics: the pipeline's topics.
        model: model id, or as much of its start as is unique.
        by: who approves.
        shadows: models to score beside it, never to answer.
        share: percent of the answers it gives; the champion in force gives the rest.
        note: why.

    Raises:
        ConfigError: no such model, no gate results yet, or no champion to share with.
    """
    state, models = governance(topics, settled=True), published(topics, settled=True)
    model_id = resolve(models, model)
    gates = state.gates.get(model_id)
    if not gates:
        raise ConfigError(
            f"model {model_id[:12]} has not been through the gates yet: is `headrace run govern` running?"
        )
    if model_id in state.rejected:
        raise ConfigError(f"model {model_id[:12]} is rejected: {state.rejected[model_id].reason}")
    policy = Policy(
        routes=_routes(state, model_id, share),
        shadows=[resolve(models, s) for s in shadows],
        salt=topics.pipeline.name,
    )
    approval = Approval(model_id=model_id, by=by, evidence_hash=evidence_hash(gates.values()), policy=policy, note=note)
    write(topics, "decisions", [approval], [model_id])
    return approval


def order_rejection(topics: PipelineLog, model: str, by: str, reason: str) -> Rejection:
    """Reject a candidate for good."""
    model_id = resolve(published(topics, settled=True), model)
    rejection = Rejection(model_id=model_id, by=by, reason=reason)
    write(topics, "decisions", [rejection], [rejection.model_id])
    return rejection


def order_rollback(topics: PipelineLog, by: str, reason: str, to: str = "") -> RolledBack:
    """Order an earlier policy back into force: that of activation ``to``, or the one before the present one.

    Raises:
        ConfigError: there is no such activation.
    """
    activations = list(governance(topics, settled=True).activations.values())
    earlier = _activation(activations, to)
    order = RolledBack(activation_id=earlier.activation_id, by=by, reason=reason)
    write(topics, "decisions", [order], [earlier.model_id])
    return order


def write(topics: PipelineLog, name: str, records: Sequence[Record], keys: Sequence[str]) -> list[int]:
    """Write control records in a transaction of their own; gives their offsets."""
    output: Output = topics.control(name, records, keys)
    writer = topics.log.writer(f"{topics.pipeline.name}.orders.{uuid.uuid4().hex[:8]}")
    try:
        writer.begin()
        offsets = writer.write_tracked([output])[0]
        writer.commit()
    finally:
        writer.close()
    return offsets


def resolve(models: dict[str, Published], prefix: str) -> str:
    """The one model id that starts with ``prefix``.

    Raises:
        ConfigError: none does, or several do.
    """
    found = [m for m in models if m.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if not found:
        known = ", ".join(m[:12] for m in models) or "none yet"
        raise ConfigError(f"no published model starts with {prefix!r}; there are: {known}")
    raise ConfigError(f"{prefix!r} fits {len(found)} models: give more of the id")


def newest_event_time(topics: PipelineLog, name: str) -> datetime | None:
    """Newest event time among the last records of each partition of a topic."""
    newest = None
    for partition, (start, stop) in topics.log.bounds(topics.topic(name)).items():
        tail = {topics.tp(name, partition): (max(start, stop - _TAIL), stop)}
        for chunk in read_range(topics.log, tail):
            latest = topics.codec(name).decode(chunk.values).frame()["event_time"].max()
            if isinstance(latest, datetime):
                newest = max(newest or latest, latest)
    return newest


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
