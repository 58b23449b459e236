"""``headrace init``: a pipeline's topics, schemas and access rules."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.connect import PipelineName, opened
from headrace.cli.progress import waiting


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(init)


def init(
    ctx: typer.Context,
    pipeline: PipelineName,
    acls: Annotated[
        bool | None,
        typer.Option(
            help="Grant each processor the least rights it needs (default: only if the cluster uses SASL).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Create a pipeline's topics, schemas and ACLs. Safe to repeat.

    Keyed topics that have fewer partitions than another get as many; raw itself is left alone.
    """
    from headrace.runner.processors import PROCESSORS
    from headrace.topics.acls import rules
    from headrace.topics.partitions import add_missing_partitions, uneven
    from headrace.topics.retention import days, keep_long_enough
    from headrace.topics.table import TOPICS

    topics, settings = opened(ctx, pipeline)
    with waiting("creating topics and registering schemas"):
        created = topics.init()
    existed = len(TOPICS) - len(created)
    typer.echo(f"{len(created)} topics created, {existed} existed before; schemas registered")
    for topic, (had, has) in add_missing_partitions(topics.log, topics.pipeline).items():
        typer.echo(f"{topic} had {had} partitions and now has {has}, as many as the keyed topic that has most")
    for line in uneven(topics.log, topics.pipeline):
        typer.echo(line)
    for topic, (kept, keeps) in keep_long_enough(topics.log, topics.pipeline).items():
        typer.echo(f"{topic} kept records for {days(kept)} and now keeps them for {days(keeps)}, as the horizons need")
    if acls is None:
        acls = settings.kafka.get("security.protocol", "").startswith("SASL")
    if acls:
        wanted = rules(topics.pipeline, PROCESSORS.values())
        topics.log.grant(wanted)
        typer.echo(f"{len(wanted)} ACLs in place for {len({r.principal for r in wanted})} principals")
    if created:
        typer.echo(f"next: push events with `headrace push {pipeline} FILE`; `headrace topics {pipeline}` shows them")
