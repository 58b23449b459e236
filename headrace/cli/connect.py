"""What commands that talk to Kafka share: their options, and the connection these make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from headrace.config import ADMIN, Settings, load_settings
from headrace.declare.find import find_pipeline
from headrace.errors import ConfigError
from headrace.kafka.cluster import KafkaLog
from headrace.schema.registry import ConfluentRegistry
from headrace.topics.pipeline_topics import PipelineTopics

PipelineName = Annotated[
    str,
    typer.Argument(metavar="PIPELINE", help="A name from headrace.toml, or module:attribute, or file.py:attribute."),
]
KafkaOption = Annotated[
    str | None, typer.Option("--kafka", metavar="HOST:PORT", help="Kafka to use; default: the embedded stack.")
]
RegistryOption = Annotated[
    str | None, typer.Option("--registry", metavar="URL", help="Schema registry to use; default: the embedded one.")
]
StateOption = Annotated[Path | None, typer.Option("--state", help="Folder of the embedded stack (default: .headrace).")]
PropertyOption = Annotated[
    list[str] | None,
    typer.Option("-X", metavar="NAME=VALUE", help="A librdkafka property, passed through; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_from(
    kafka: str | None,
    registry: str | None,
    state: Path | None,
    properties: Sequence[str] | None,
    principal: str = ADMIN,
) -> Settings:
    """Settings with the command line's options on top, and the stack's addresses and a principal's credentials
    where none are given."""
    settings = load_settings(bootstrap=kafka, registry_url=registry, state=state)
    given = dict(settings.kafka)
    for text in properties or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"-X {text}: give NAME=VALUE, e.g. -X security.protocol=SSL")
        given[name] = value
    return settings.model_copy(update={"kafka": given}).located().as_principal(principal)


def open_pipeline(name: str, settings: Settings, client: str = "headrace-cli") -> PipelineTopics:
    """A pipeline on the cluster the settings name."""
    pipeline = find_pipeline(name, settings)
    return PipelineTopics(pipeline, KafkaLog(settings, client), ConfluentRegistry(settings))
