"""``headrace train``, ``approve``, ``reject`` and ``rollback``: what people decide."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from headrace.cli.connect import (
    KafkaOption,
    PipelineName,
    PropertyOption,
    RegistryOption,
    StateOption,
    open_pipeline,
    settings_from,
)
from headrace.governance.decisions import (
    order_approval,
    order_rejection,
    order_rollback,
    order_training,
    shown_evidence,
)

ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="Model id, or as much of its start as is unique.")]
By = Annotated[str, typer.Option("--by", help="Who decides (default: the user logged in).")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (train, approve, reject, rollback):
        app.command()(command)


def train(
    pipeline: PipelineName,
    detail: Annotated[str, typer.Option("--why", help="Why, for the record.")] = "asked for",
    by: By = "",
    code: Annotated[bool, typer.Option("--code", help="The reason is a change of code.")] = False,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
) -> None:
    """Ask for a training on every example there is now. `headrace run retrain` does it."""
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x))
    trigger = order_training(there, by or getpass.getuser(), detail, "code" if code else "person")
    count = sum(r.stop - r.start for r in trigger.ranges)
    typer.echo(f"trigger {trigger.trigger_id} written; it pins {len(trigger.ranges)} ranges of {count} offsets in all")


def approve(
    pipeline: PipelineName,
    model: ModelId,
    by: By = "",
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    shadow: Annotated[list[str] | None, typer.Option(help="A model to score beside it, recorded only.")] = None,
    share: Annotated[int, typer.Option(min=1, max=100, help="Percent of the answers it gives.")] = 100,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
) -> None:
    """Approve a candidate on the evidence of its gates, which is shown first. It then comes into force."""
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x))
    shown = shown_evidence(there, model)
    table = Table("gate", "verdict", "mode", "finding", title=f"evidence {shown.hash[:12]} for {shown.model_id[:12]}")
    for result in shown.gates:
        table.add_row(result.gate, "passed" if result.passed else "FAILED", result.mode, result.summary)
    Console().print(table)
    if not yes and not typer.confirm("approve on this evidence?"):
        raise typer.Exit(1)
    approval = order_approval(
        there,
        shown.model_id,
        by or getpass.getuser(),
        evidence=shown.hash,
        shadows=shadow or (),
        share=share,
        note=note,
    )
    evidence = approval.evidence_hash[:12]
    typer.echo(f"approved by {approval.by} on evidence {evidence}; `headrace models list` shows when it rules")


def reject(
    pipeline: PipelineName,
    model: ModelId,
    reason: Annotated[str, typer.Option("--why", help="Why, for the record.")],
    by: By = "",
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
) -> None:
    """Reject a candidate for good."""
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x))
    rejection = order_rejection(there, model, by or getpass.getuser(), reason)
    typer.echo(f"model {rejection.model_id[:12]} rejected")


def rollback(
    pipeline: PipelineName,
    to: Annotated[str, typer.Option(help="Activation to go back to; default: the one before the present policy.")] = "",
    reason: Annotated[str, typer.Option("--why", help="Why, for the record.")] = "asked for",
    by: By = "",
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
) -> None:
    """Put an earlier policy in force again, by the same path as an approval."""
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x))
    order = order_rollback(there, by or getpass.getuser(), reason, to)
    typer.echo(f"ordered back to activation {order.activation_id}; `headrace models list` shows when it rules")
