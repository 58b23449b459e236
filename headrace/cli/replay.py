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
from headrace.cli.times import window
from headrace.cli.whatif import Ways, what_if
from headrace.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(replay)


def replay(
    pipeline: PipelineName,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Score the past under this candidate: its id, or a unique start of it."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Records that came from then on (ISO 8601, UTC).")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Records that came before then (ISO 8601, UTC).")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Score from which a decision is yes.")] = 0.5,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as one page, with plots.")
    ] = None,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask what a candidate would have answered to the records production has answered, before anyone approves it.

    The report holds both models' figures on the labels that came later, over time and by group, the decisions that
    would change, and the records on which the two are furthest apart. Records that a model was trained on are told
    apart. Nothing is written to the log.
    """
    asked = window(since, until)
    if model is None:
        raise ConfigError(
            f"say what to replay: --model MODEL scores the past under a candidate (`headrace models list {pipeline}`)"
        )
    what_if(pipeline, settings_from(kafka, registry, state, x), model, asked, threshold, Ways(html, as_json))
