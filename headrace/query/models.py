"""What is known of each model: what it was made of, its figures, its gates, and where it came into force."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from headrace.governance.catalog import Governance, governance, published
from headrace.schema.records import Activated, Approval, ModelManifest
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
        trigger: why it was trained (person, drift, schedule, code).
        examples: how many it was trained and judged on.
        algorithm: how it was trained.
        metrics: figures on its validation examples.
        gates: gate -> whether it passed.
        state: what it is now.
        detail: why it was rejected, its share of the answers, or that it is not in force yet.
        markers: where it came into force as the champion, oldest first.
    """

    id: str
    trigger: str
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
    decided = governance(topics)
    return [model_view(p.manifest, decided) for p in published(topics).values()]


def model_view(manifest: ModelManifest, decided: Governance) -> ModelView:
    """What is known of a model."""
    model_id = manifest.model_id
    activations = [a for a in decided.activations.values() if a.policy.champion == model_id]
    state, detail = _state(model_id, decided, bool(activations))
    return ModelView(
        id=model_id,
        trigger=manifest.lineage.trigger_reason,
        examples=manifest.lineage.records,
        algorithm=manifest.algorithm,
        metrics=dict(manifest.metrics),
        gates={g.gate: g.passed for g in decided.gates.get(model_id, {}).values()},
        state=state,
        detail=detail,
        markers=tuple(map(_reign, activations)),
    )


def _state(model_id: str, decided: Governance, ruled: bool) -> tuple[State, str]:
    policy = decided.in_force.policy if decided.in_force is not None else None
    if policy is not None:
        if policy.champion == model_id:
            return "champion", ""
        total = sum(r.weight for r in policy.routes)
        for route in policy.routes:
            if route.model_id == model_id:
                return "candidate", f"{100 * route.weight / total:.0f} % of the answers"
        if model_id in policy.shadows:
            return "shadow", ""
    if model_id in decided.rejected:
        return "rejected", decided.rejected[model_id].reason
    if any(isinstance(o, Approval) and o.model_id == model_id for o in decided.open_orders().values()):
        return "approved", "not in force yet"
    return ("retired", "") if ruled else ("waits for approval", "")


def _reign(activated: Activated) -> Reign:
    return Reign(activated.activation_id, activated.reason, {m.partition: m.offset for m in activated.markers})
