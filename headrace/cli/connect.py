"""The connection's options, given once at the root of the command line, and what commands that use it share."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.config import Settings
    from headrace.topics.pipeline_topics import PipelineTopics

KafkaOption = Annotated[
    str | None, typer.Option("--kafka", metavar="HOST:PORT", help="Kafka to use (default: the embedded stack).")
]
RegistryOption = Annotated[
    str | None, typer.Option("--registry", metavar="URL", help="Schema registry to use (default: the embedded one).")
]
StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="FOLDER", help="Folder of the embedded stack (default: .headrace).")
]
PropertyOption = Annotated[
    list[str] | None,
    typer.Option("-X", metavar="NAME=VALUE", help="Pass a property through to librdkafka; repeatable."),
]
LONG, SHORT = ("--kafka", "--registry", "--state"), "-X"
"""The options above, each of which takes a value."""

PipelineName = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE", show_default=False, help="A name from headrace.toml, module:attribute or file.py:attribute."
    ),
]
ModelId = Annotated[
    str, typer.Argument(metavar="MODEL", show_default=False, help="Model id; a unique beginning of it is enough.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ByOption = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides (default: the user logged in).")]


@dataclass(frozen=True)
class Connection:
    """What the root's options say of the connection.

    Attributes:
        kafka: bootstrap servers.
        registry: URL of the schema registry.
        state: folder of the embedded stack.
        properties: librdkafka properties, NAME=VALUE.
    """

    kafka: str | None = None
    registry: str | None = None
    state: Path | None = None
    properties: tuple[str, ...] = ()

    def local(self) -> Settings:
        """The settings with these options on top; Kafka need not run.

        Raises:
            ConfigError: a setting or a property is wrong, or one that exactly-once rests on.
        """
        from headrace.config import load_settings
        from headrace.kafka.fixed import refuse_fixed

        settings = load_settings(bootstrap=self.kafka, registry_url=self.registry, state=self.state)
        given = dict(settings.kafka)
        for text in self.properties:
            name, equals, value = text.partition("=")
            if not equals:
                raise ConfigError(f"-X {text}: give NAME=VALUE, e.g. -X security.protocol=SSL")
            given[name] = value
        refuse_fixed(given)
        return settings.model_copy(update={"kafka": given})

    def settings(self, principal: str | None = None) -> Settings:
        """The settings with the addresses of a running Kafka, and a principal's credentials (default: the admin's).

        Raises:
            ConfigError: a setting is wrong, or no Kafka is named and no embedded stack runs.
        """
        from headrace.config import ADMIN

        return self.local().located().as_principal(principal or ADMIN)


def connection(ctx: typer.Context) -> Connection:
    """What the root's options say."""
    found = ctx.find_object(Connection)
    return Connection() if found is None else found


def opened(
    ctx: typer.Context, pipeline: str, principal: str | None = None, client_id: str = "headrace-cli"
) -> tuple[PipelineTopics, Settings]:
    """A pipeline's topics, and the settings they were reached with.

    Raises:
        ConfigError: a setting is wrong, no Kafka is named and no embedded stack runs, or there is no such pipeline.
    """
    from headrace.cli.progress import waiting

    # What Kafka's client tries again by itself is no news to a person; what it gives up becomes an error.
    logging.getLogger("headrace.kafka").setLevel(logging.ERROR)
    with waiting("loading the pipeline and connecting"):
        settings = connection(ctx).settings(principal)
        from headrace.client.connect import open_topics

        return open_topics(pipeline, settings, client_id), settings


def take_connection(args: Sequence[str]) -> tuple[Connection, list[str]]:
    """The connection's options, wherever on the line they are, and the other arguments; ``--`` ends the options.

    Raises:
        ConfigError: an option has no value.
    """
    given: dict[str, list[str]] = {name: [] for name in (*LONG, SHORT)}
    rest: list[str] = []
    words = iter(args)
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--":
            rest += [word, *words]
        elif word in given:
            found = next(words, None)
            if found is None:
                raise ConfigError(f"{word} needs a value")
            given[word].append(found)
        elif equals and name in LONG:
            given[name].append(value)
        elif word.startswith(SHORT):
            given[SHORT].append(word.removeprefix(SHORT))
        else:
            rest.append(word)
    kafka, registry, state = (given[name][-1] if given[name] else None for name in LONG)
    return Connection(kafka, registry, Path(state) if state else None, tuple(given[SHORT])), rest
