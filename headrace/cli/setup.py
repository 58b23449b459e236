"""``headrace init`` and ``headrace topics``: a pipeline's topics and schemas."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

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
from headrace.runner.processors import PARTIES, PROCESSORS
from headrace.topics.acls import rules
from headrace.topics.parties import readers, writers
from headrace.topics.table import TOPICS


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command()(init)
    app.command()(topics)


def init(
    pipeline: PipelineName,
    acls: Annotated[
        bool | None,
        typer.Option(help="Let each processor do what it must, and no more; default: where Kafka asks who speaks."),
    ] = None,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
) -> None:
    """Create a pipeline's topics, register its schemas and set its ACLs. Safe to repeat."""
    settings = settings_from(kafka, registry, state, x)
    there = open_pipeline(pipeline, settings)
    created = there.init()
    typer.echo(f"{len(created)} topics created, {len(TOPICS) - len(created)} were there; schemas registered")
    if acls is None:
        acls = settings.kafka.get("security.protocol", "").startswith("SASL")
    if acls:
        wanted = rules(there.pipeline, PROCESSORS.values())
        there.log.grant(wanted)
        typer.echo(f"{len(wanted)} ACLs in place for {len({r.principal for r in wanted})} principals")


def topics(
    pipeline: PipelineName,
    kafka: KafkaOption = None,
    registry: RegistryOption = None,
    state: StateOption = None,
    x: PropertyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a pipeline's topics: what each carries, who writes and reads it, how far it reaches."""
    there = open_pipeline(pipeline, settings_from(kafka, registry, state, x))
    ends = {name: there.log.bounds(there.topic(name)) for name in TOPICS}
    if as_json:
        bounds = {n: {p: {"first": a, "end": b} for p, (a, b) in found.items()} for n, found in ends.items()}
        typer.echo(json.dumps(bounds))
        return
    table = Table(
        Column("topic", no_wrap=True),
        "records",
        "written by",
        "read by",
        "kept",
        Column("end offsets", justify="right"),
        title=f"topics of {pipeline}",
    )
    for name, topic in TOPICS.items():
        offsets = " ".join(f"{end:,}" for _, end in ends[name].values())
        table.add_row(
            there.topic(name),
            ", ".join(topic.records),
            ", ".join(writers(name, PARTIES)),
            ", ".join(readers(name, PARTIES)),
            topic.retention,
            offsets,
        )
    Console().print(table)
