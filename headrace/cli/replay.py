"""``headrace replay``: the past of a pipeline gone through again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connect import (
    JsonOption,
    KafkaOption,
    PipelineName,
    PropertyOption,
    RegistryOption,
    StateOption,
    settings_from,
)
from headrace.cli.times import bounds, window
from headrace.cli.verify import verify as verify_predictions
from headrace.cli.whatif import Ways, what_if
from headrace.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(replay)


def replay(
    pipeline: PipelineName,
    verify: Annotated[bool, typer.Option("--verify", help="Hold every prediction against its repetition.")] = False,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Score the past under this candidate: its id, or a unique start of it."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME|OFFSETS",
            help="Records that came from then on (ISO 8601, UTC); with --verify also from offsets 0:1500,1:20.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="TIME|OFFSETS", help="Records that came before then, or stand before these offsets."
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="With --model: score from which a decision is yes.")
    ] = 0.5,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="With --model: write the report as one page, with plots."),
    ] = None,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score the past again, through the very code the worker runs. Nothing is written to the log.

    --verify: each record under the model that the policy in force at its offset names, compared bit for bit with the
    prediction on the log. Exits with 1 where one differs.

    --model: what a candidate would have answered, before anyone approves it: both models' figures on the labels that
    came later, over time and by group, the decisions that would change, and the records on which the two are furthest
    apart. Records that a model was trained on are told apart.
    """
    settings = settings_from(kafka, registry, state, x)
    if verify and model is None:
        return verify_predictions(pipeline, settings, bounds(since, until), as_json)
    if model is not None and not verify:
        return what_if(pipeline, settings, model, window(since, until), threshold, Ways(html, as_json))
    raise ConfigError(
        "say what to replay for: --verify holds the predictions against their repetition, --model MODEL scores the "
        f"past under a candidate (`headrace models list {pipeline}`)"
    )
