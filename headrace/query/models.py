"""What is known of each model: what it was made of, its figures, its gates, and where it came into force."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from headrace.governance.catalog import Governance, governance, published, trained_again
from headrace.schema.records import Activated, Approval, ModelManifest, TrainedAgain
from headrace.topics.pipeline_topics import PipelineTopics

State = Literal["champion", "candidate", "shadow", "rejected", "retired", "approved", "waits for approval"]


@dataclass(frozen=True)
class Reign:
    """An activation that made a model the champion.

    Attributes:
        activation: its id.
        reason: why, as the log has it.
        offsets: partition of features -> offset of the marker from which the model answers.
    """

    activation: str
    reason: str
    offsets: dict[int, int]


@dataclass(frozen=True)
class ModelView:
    """A model and what was decided of it.

    Attributes:
        id: sha-256 of its ONNX bytes, hex.
        trigger: why it was first trained (person, drift, schedule, code).
        again: ids of the triggers whose trainings gave the same model later; nothing more was published for them.
        examples: how many it was trained and judged on.
        algorithm: how it was trained.
        metrics: figures on its validation examples.
        gates: gate -> whether it passed.
        state: what it is now.
        detail: why it was rejected, and whether it still answers; its share of the answers; or that it is not in force
            yet.
        markers: where it came into force as the champion, oldest first.
    """

    id: str
    trigger: str
    again: tuple[str, ...]
    examples: int
    algorithm: str
    metrics: dict[str, float]
    gates: dict[str, bool]
    state: State
    detail: str
    markers: tuple[Reign, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


def model_views(topics: PipelineTopics) -> list[ModelView]:
    """Every model of a pipeline, in the order of publication."""
    decided, again = governance(topics), trained_again(topics)
    return [model_view(p.manifest, decided, again.get(m, ())) for m, p in published(topics).items()]


def model_view(manifest: ModelManifest, decided: Governance, again: Iterable[TrainedAgain] = ()) -> ModelView:
    """What is known of a model."""
    model_id = manifest.model_id
    activations = [a for a in decided.activations.values() if a.policy.champion == model_id]
    state, detail = _state(model_id, decided, bool(activations))
    return ModelView(
        id=model_id,
        trigger=manifest.lineage.trigger_reason,
        again=tuple(dict.fromkeys(a.trigger_id for a in again)),
        examples=manifest.lineage.records,
        algorithm=manifest.algorithm,
        metrics=dict(manifest.metrics),
        gates={g.gate: g.passed for g in decided.gates.get(model_id, {}).values()},
        state=state,
        detail=detail,
        markers=tuple(map(_reign, activations)),
    )


def _state(model_id: str, decided: Governance, ruled: bool) -> tuple[State, str]:
    part = _part(model_id, decided)
    if model_id in decided.rejected:
        why = decided.rejected[model_id].reason
        return "rejected", why if part is None else f"{why}; {_still(part, decided)}"
    if part is not None:
        return part
    if any(isinstance(o, Approval) and o.model_id == model_id for o in decided.open_orders().values()):
        return "approved", "not in force yet"
    return ("retired", "") if ruled else ("waits for approval", "")


def _part(model_id: str, decided: Governance) -> tuple[State, str] | None:
    """The part that a model plays in the policy in force."""
    if decided.in_force is None:
        return None
    policy = decided.in_force.policy
    if policy.champion == model_id:
        return "champion", ""
    total = sum(r.weight for r in policy.routes)
    for route in policy.routes:
        if route.model_id == model_id:
            return "candidate", f"{100 * route.weight / total:.0f} % of the answers"
    return ("shadow", "") if model_id in policy.shadows else None


def _still(part: tuple[State, str], decided: Governance) -> str:
    """That a rejected model is still in force, and until when."""
    state, share = part
    does = "still scores as a shadow" if state == "shadow" else f"still answers as the {state}"
    until = next(decided.next_policies(), None)
    ends = (
        "nothing is ordered in its place: `headrace models rollback`"
        if until is None
        else f"until the order of {until[0].by} is carried out by `headrace run govern`"
    )
    return f"it {does}{f' ({share})' if share else ''}, {ends}"


def _reign(activated: Activated) -> Reign:
    return Reign(activated.activation_id, activated.reason, {m.partition: m.offset for m in activated.markers})
