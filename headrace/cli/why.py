"""``headrace why``: the whole story of one prediction."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from headrace.cli.connect import JsonOption, PipelineName, opened
from headrace.cli.progress import Bar


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(why)


def why(
    ctx: typer.Context,
    pipeline: PipelineName,
    asked: Annotated[
        str,
        typer.Argument(
            metavar="ID|PARTITION:OFFSET",
            show_default=False,
            help="Id of what was scored, or the coordinate of the prediction, e.g. 2:1043.",
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Tell one prediction's whole story, from event to label.

    Shows the event, its features, the policy in force, who approved it on which evidence, and the model. Makes score
    and features again, and exits with 1 if they differ or if the record was answered twice.
    """
    from headrace.models.package.signing import Trust
    from headrace.query.why.find import find
    from headrace.query.why.story import tell
    from headrace.runner.recompute import features_of

    topics, settings = opened(ctx, pipeline)
    with Bar("looking for the prediction") as bar:
        coordinate, others = find(topics, asked, bar)
        bar.begins("reading its event, policy, model and label, and scoring it again", 0)
        story = tell(topics, coordinate, Trust.of(settings), features_of, others)
    if as_json:
        typer.echo(json.dumps(story.plain(), default=str))
    else:
        from rich.console import Console

        from headrace.cli.why_screen import show

        show(story, Console())
    if not story.agrees:
        raise typer.Exit(1)
