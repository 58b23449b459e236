"""``headrace replay``: predictions made again from the log."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.connect import (
    JsonOption,
    KafkaOption,
    PipelineName,
    PropertyOption,
    RegistryOption,
    StateOption,
    open_pipeline,
    settings_from,
)
from headrace.cli.verify import verify as verify_predictions
from headrace.errors import ConfigError
from headrace.models.signing import Trust
from headrace.replay.bounds import Bounds, parse_edge


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(replay)


def replay(
    pipeline: PipelineName,
    verify: Annotated[bool, typer.Option("--verify", help="Hold every prediction against its repetition.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME|OFFSETS",
            help="Features that came from then on (ISO 8601, UTC), or from 0:1500,1:20.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="TIME|OFFSETS", help="Features that came before then, or that stand before 0:1500."
        ),
    ] = None,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score the past again, through the very code the worker runs.

    With --verify: each record under the model that the policy in force at its offset names, compared bit for bit with
    the prediction on the log. Exits with 1 where one differs. It can run while the pipeline does.
    """
    bounds = Bounds(parse_edge("--from", since), parse_edge("--to", until))
    settings = settings_from(kafka, registry, state, x)
    there = open_pipeline(pipeline, settings)
    if verify:
        return verify_predictions(there, Trust.of(settings), bounds, as_json)
    raise ConfigError("say what to replay for: --verify")
