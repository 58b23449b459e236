"""What people decide on models: ``headrace models train``, ``approve``, ``reject`` and ``rollback``."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.connect import ByOption, ModelId, PipelineName, opened
from headrace.cli.progress import waiting
from headrace.cli.troubles import tell_troubles

if TYPE_CHECKING:
    from headrace.topics.pipeline_topics import PipelineTopics


def train(
    ctx: typer.Context,
    pipeline: PipelineName,
    detail: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why, for the record.")] = "asked for",
    by: ByOption = "",
    code: Annotated[bool, typer.Option("--code", help="The reason is a change of code.")] = False,
) -> None:
    """Ask for a model trained on every example so far. The retrain processor trains it."""
    from headrace.governance.decisions import order_training

    topics, _ = opened(ctx, pipeline)
    with waiting("reading the examples' offsets"):
        trigger = order_training(topics, by or getpass.getuser(), detail, "code" if code else "person")
    count = sum(r.stop - r.start for r in trigger.ranges)
    typer.echo(f"training {trigger.trigger_id} asked for: {count:,} offsets of {topics.topic('examples')}")
    typer.echo(
        f"next: `headrace run retrain {pipeline}` trains it and `headrace run govern {pipeline}` runs its gates; "
        f"`headrace models list {pipeline}` shows the model, or that it is the "
        "same model as already published"
    )
    tell_troubles(topics)


def approve(
    ctx: typer.Context,
    pipeline: PipelineName,
    model: ModelId,
    by: ByOption = "",
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = "",
    shadow: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Also score with this model and record it, never answer; repeatable."),
    ] = None,
    share: Annotated[int, typer.Option(min=1, max=100, help="Percent of the answers that the model gives.")] = 100,
    skip_backlog: Annotated[
        bool,
        typer.Option(
            "--skip-backlog",
            help="Do not score the records from before the pipeline's first policy (first approval only).",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Approve a model on the evidence of its gates.

    The evidence is shown first. The govern processor then puts the model in force.
    """
    from rich.console import Console

    from headrace.cli.models_screen import evidence_of
    from headrace.governance.decisions import order_approval, shown_evidence

    topics, _ = opened(ctx, pipeline)
    with waiting("reading models and decisions"):
        shown = shown_evidence(topics, model)
    Console().print(evidence_of(shown))
    if not yes and not typer.confirm("approve on this evidence?"):
        typer.echo("not approved; nothing was written")
        raise typer.Exit(1)
    with waiting("writing the approval"):
        approval = order_approval(
            topics,
            shown.model_id,
            by or getpass.getuser(),
            evidence=shown.hash,
            shadows=shadow or (),
            share=share,
            skip_backlog=skip_backlog,
            note=note,
        )
    typer.echo(f"model {shown.model_id[:12]} approved by {approval.by} on evidence {approval.evidence_hash[:12]}")
    _in_force_next(pipeline)


def reject(
    ctx: typer.Context,
    pipeline: PipelineName,
    model: ModelId,
    reason: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why, for the record.")],
    instead: Annotated[
        str,
        typer.Option(
            metavar="ACTIVATION",
            help="What rules in its place, where it is the champion: an activation, or the word previous.",
        ),
    ] = "",
    by: ByOption = "",
) -> None:
    """Reject a model for good. It cannot be approved later, and no rollback brings it back.

    Where it is the champion, say what rules in its place; on a terminal you are asked. Where it is a candidate or a
    shadow, the policy without it rules. Rejection and replacement are one: both are written, or neither.
    """
    from headrace.governance.decisions import order_rejection

    topics, _ = opened(ctx, pipeline)
    if not instead and on_a_terminal():
        instead = _asked_instead(topics, model)
    with waiting("reading models and decisions"):
        rejected = order_rejection(topics, model, by or getpass.getuser(), reason, instead)
    short = rejected.rejection.model_id[:12]
    typer.echo(f"model {short} rejected; `headrace models show {pipeline} {short}`")
    if rejected.instead is None:
        return
    left_out = ", ".join(m[:12] for m in rejected.instead.without)
    without = f" without {left_out}" if left_out else ""
    typer.echo(f"in its place: the policy of activation {rejected.instead.activation_id}{without}, ordered with it")
    _in_force_next(pipeline)


def on_a_terminal() -> bool:
    """Whether someone can be asked."""
    return sys.stdin.isatty()


def _asked_instead(topics: PipelineTopics, model: str) -> str:
    """Ask which activation rules in the place of a model, where that has to be said."""
    from headrace.governance.decisions import to_be_replaced
    from headrace.governance.replacement import activation_line

    with waiting("reading models and decisions"):
        possible = to_be_replaced(topics, model)
    if not possible:
        return ""
    typer.echo("it is the champion. What may rule in its place, the latest first:")
    for activated in possible:
        typer.echo(f"  {activation_line(activated)}")
    return str(typer.prompt("activation", default=possible[0].activation_id))


def rollback(
    ctx: typer.Context,
    pipeline: PipelineName,
    to: Annotated[
        str,
        typer.Option(metavar="ACTIVATION", help="Activation to go back to (default: the latest of another policy)."),
    ] = "",
    reason: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why, for the record.")] = "asked for",
    by: ByOption = "",
) -> None:
    """Put an earlier policy in force again.

    Never one with a rejected model. Goes the same way as an approval, ahead of every order that is open: an approval
    that still waits for workers is refused, and must be given anew. headrace models list shows the activations so far.
    """
    from headrace.governance.decisions import order_rollback

    topics, _ = opened(ctx, pipeline)
    with waiting("reading decisions"):
        order = order_rollback(topics, by or getpass.getuser(), reason, to)
    typer.echo(f"rollback to activation {order.activation_id} ordered by {order.by}")
    _in_force_next(pipeline)


def _in_force_next(pipeline: str) -> None:
    typer.echo(
        f"next: `headrace run govern {pipeline}` puts it in force once the infer workers have loaded its models; "
        f"`headrace models list {pipeline}` shows from which offsets it answers"
    )
