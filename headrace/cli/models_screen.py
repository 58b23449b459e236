"""Models as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from headrace.cli.tables import details, fold, name, number, table
from headrace.client.models import Model
from headrace.governance.evidence import Evidence
from headrace.query.models import ModelView, Reign

STYLES = {"champion": "bold green", "candidate": "green", "shadow": "cyan", "rejected": "red", "retired": "dim"}
WIDE = 100
"""Columns of a terminal from which on the algorithm is shown too."""


def listed(pipeline: str, views: list[ModelView], width: int) -> RenderableType:
    """Every model of a pipeline, then where its champions came into force."""
    if not views:
        return Text(
            f"{pipeline} has no model yet: `headrace models train {pipeline}` asks for one, once there are examples"
        )
    return Group(_models(pipeline, views, width >= WIDE), Text(), *_reigns(views))


def _models(pipeline: str, views: list[ModelView], wide: bool) -> RenderableType:
    algorithm = [name("algorithm")] if wide else []
    figures = (number(head) for head in ("examples", "log loss", "AUC"))
    shown = table(
        name("model"),
        name("trained by"),
        *algorithm,
        *figures,
        fold("gates"),
        fold("state"),
        title=f"models of {pipeline}",
    )
    for view in views:
        shown.add_row(
            view.id[:12],
            f"{view.trigger}, {same_again(view)}" if view.again else view.trigger,
            *([view.algorithm] if wide else []),
            f"{view.examples:,}",
            figure(view.metrics, "log_loss"),
            figure(view.metrics, "auc"),
            gates_of(view),
            Text(state_of(view), style=STYLES.get(view.state, "yellow")),
        )
    return shown


def _reigns(views: list[ModelView]) -> list[RenderableType]:
    ruled = [(view, reign) for view in views for reign in view.markers]
    if not ruled:
        return [Text("no model is in force yet: `headrace models approve` puts one in force")]
    shown = table(
        name("model"), name("activation"), fold("reason"), fold("in force from partition:offset"), title="champions"
    )
    for view, reign in ruled:
        shown.add_row(view.id[:12], reign.activation, reign.reason, offsets_of(reign))
    return [shown]


def details_of(pipeline: str, model: Model) -> RenderableType:
    """One model: what it is, what it was made from, its figures, its gates and its reigns."""
    view, manifest, lineage = model.view, model.manifest, model.manifest.lineage
    about = details(f"model {view.id[:12]} of {pipeline}")
    rows = {
        "id": view.id,
        "state": state_of(view),
        "algorithm": f"{manifest.algorithm}, {_pairs(lineage.parameters)}"
        if lineage.parameters
        else manifest.algorithm,
        "target": manifest.target,
        "features": ", ".join(manifest.features),
        "figures": ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in sorted(view.metrics.items())),
        "size": f"{manifest.size:,} bytes, {'signed' if manifest.signature else 'not signed'}",
        "published": f"{manifest.at:%Y-%m-%d %H:%M:%S} UTC",
        "trained by": f"{lineage.trigger_reason}, trigger {lineage.trigger_id}",
        **({"trained again": f"by {', '.join(view.again)}: same model as already published"} if view.again else {}),
        "examples": f"{lineage.records:,}, up to {lineage.train_until:%Y-%m-%d %H:%M} for training, "
        f"up to {lineage.validation_until:%Y-%m-%d %H:%M} for validation",
        "offsets": ", ".join(f"{r.partition}:{r.start}-{r.stop}" for r in lineage.ranges),
        "root hash": lineage.root_hash,
        "code": lineage.code_version,
        "runtime": lineage.runtime,
    }
    for key, value in rows.items():
        about.add_row(key, Text(value))
    return Group(about, Text(), *_gates(model), Text(), *_came(view))


def _gates(model: Model) -> list[RenderableType]:
    if model.evidence is None:
        return [Text("the gates have not run yet: `headrace run govern` runs them")]
    return [evidence_of(model.evidence)]


def evidence_of(evidence: Evidence) -> RenderableType:
    """The findings of a model's gates, and the hash that an approval names."""
    shown = table(
        name("gate"), name("verdict"), name("mode"), fold("finding"), title=f"gates of {evidence.model_id[:12]}"
    )
    for gate in evidence.gates:
        verdict = Text("passed", "green") if gate.passed else Text("FAILED", "bold red")
        shown.add_row(gate.gate, verdict, gate.mode, Text(gate.summary))
    return Group(shown, Text(f"evidence {evidence.hash}"))


def _came(view: ModelView) -> list[RenderableType]:
    if not view.markers:
        return [Text("it never was the champion")]
    shown = table(
        name("activation"), fold("reason"), fold("in force from partition:offset"), title="where it became champion"
    )
    for reign in view.markers:
        shown.add_row(reign.activation, reign.reason, offsets_of(reign))
    return [shown]


def plain(model: Model) -> dict[str, Any]:
    """One model as JSON takes it; bytes as hex."""
    manifest = model.manifest.model_dump(mode="json", exclude={"signature"})
    signature = model.manifest.signature
    gates = [g.model_dump(mode="json") for g in model.evidence.gates] if model.evidence else []
    return {
        **model.view.plain(),
        "gates": gates,
        "evidence_hash": model.evidence.hash if model.evidence else None,
        "manifest": {**manifest, "signature": signature.hex() if signature else None},
    }


def state_of(view: ModelView) -> str:
    """The state as people read it: ``candidate (10 % of the answers)``."""
    return f"{view.state} ({view.detail})" if view.detail else view.state


def same_again(view: ModelView) -> str:
    """How many trainings gave a model that was published already."""
    return f"same model as already published by {len(view.again)} more"


def gates_of(view: ModelView) -> str:
    """What the gates said, in a few words."""
    if not view.gates:
        return "not run yet"
    failed = [gate for gate, passed in view.gates.items() if not passed]
    return f"failed: {', '.join(failed)}" if failed else f"{len(view.gates)} passed"


def offsets_of(reign: Reign) -> str:
    """The offsets of the features from which a champion answers, by partition."""
    return "  ".join(f"{partition}:{offset}" for partition, offset in sorted(reign.offsets.items()))


def figure(metrics: dict[str, float], key: str) -> str:
    """A figure of merit, or nothing where it was not measured."""
    return f"{metrics[key]:.4f}" if key in metrics else ""


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
