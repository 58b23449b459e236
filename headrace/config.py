"""Settings: where Kafka and the registry are, what is passed through to the clients, where state is kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from headrace.errors import ConfigError

CONFIG_FILE = "headrace.toml"
STACK_FILE = "stack.json"
SECURE, CLIENTS = "secure", "clients"
"""Folder of certificates and credentials in the state folder of a stack that asks who speaks, and that of clients."""
ADMIN = "admin"
"""The principal of people and operators, who may do everything."""
RUN = "run"
"""Folder in the state folder in which supervisors say how their workers are."""
KEYS, STACK_KEY = "keys", "stack"
"""Folder of keys in the state folder, and the name of the pair that the embedded stack makes."""


class Search(BaseModel):
    """Where the search engine is, Elasticsearch or OpenSearch, and who asks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = ""
    """``http://host:port`` or ``https://...``; empty: the embedded stack's."""
    username: str = ""
    """Name to log in with; empty: none is asked for."""
    password: str = ""
    """Its password."""
    api_key: str = ""
    """Instead of a name and a password: an Elasticsearch API key, as it is given out (base64)."""
    ca: Path | None = None
    """Certificates (PEM file) that the engine's is checked against; none: those of the system."""
    lifecycle: str = ""
    """Elasticsearch: name of the lifecycle policy (ILM) of new indices; of decisions there is none, for they are kept
    for ever. Empty: none is named, as OpenSearch wants it, whose policies say themselves which indices are theirs."""


class Fluentd(BaseModel):
    """Receivers of the forward protocol, and how they are spoken to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    receivers: list[str] = []
    """``host:port`` of each; the first that answers is used, the others are there for when it does not."""
    shared_key: str = ""
    """The key of Fluentd's ``<security>``; empty: the receivers ask for none."""
    username: str = ""
    """Name to log in with, where the receivers ask for one."""
    password: str = ""
    """Its password."""
    tls: bool = False
    """Whether to speak TLS."""
    ca: Path | None = None
    """Certificates (PEM file) that the receivers' are checked against; none: those of the system."""
    certificate: Path | None = None
    """Our own certificate (PEM file), for receivers that ask for one."""
    key: Path | None = None
    """Its private key (PEM file)."""
    compress: bool = False
    """Whether messages are sent gzipped."""
    ack_timeout: float = 30.0
    """Seconds to wait for a receiver to say that it has a message."""


class WorkerState(BaseModel):
    """Where a worker keeps the records that it holds for others to come: a cache of the log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory: Annotated[ByteSize, Field(ge=0)] = ByteSize(256 << 20)
    """Bytes of them in memory, for each worker, with what finds them; a number, or as ``256MiB``. The oldest of what is
    over it goes to disk."""
    folder: Path | None = None
    """Folder for what is over that, best on a local disk; none: ``workers`` in the state folder."""


class Settings(BaseSettings):
    """What a command needs to know of its surroundings.

    Read, strongest first, from the command line, ``HEADRACE_*`` environment variables and
    ``headrace.toml`` in the working folder. Where no Kafka is named, the embedded stack that runs
    in the state folder is used (``headrace up``).
    """

    model_config = SettingsConfigDict(
        env_prefix="HEADRACE_",
        env_nested_delimiter="__",
        toml_file=CONFIG_FILE,
        extra="forbid",
        frozen=True,
    )

    bootstrap: str = ""
    """Kafka bootstrap servers, ``host:port,...``; empty: the embedded stack."""
    registry_url: str = ""
    """URL of a Confluent-compatible schema registry; empty: the embedded stack's."""
    kafka: dict[str, str] = {}
    """Any librdkafka property, passed through to every client (security, timeouts, ...)."""
    transport: Literal["auto", "native", "python"] = "auto"
    """How records travel: ``native``, from librdkafka straight into compiled code; ``python``, through Python's
    objects, several times slower; ``auto``: native where it can be."""
    full_queue_s: float = 60.0
    """Seconds that sending an event waits while the client's queue is full, before it gives up."""
    registry: dict[str, str] = {}
    """Any property of confluent-kafka's registry client (basic.auth.user.info, ssl.ca.location, ...)."""
    state: Path = Path(".headrace")
    """Folder of the embedded stack's data and logs."""
    data_folder: Path = Path("data")
    """Folder of the frozen versions of topics (``headrace data snapshot``)."""
    worker_state: WorkerState = WorkerState()
    """What a worker holds, in memory and on disk."""
    pipelines: dict[str, str] = {}
    """Pipeline name -> ``package.module:attribute`` or ``file.py:attribute``."""
    replication_factor: int = 1
    """Replicas of each topic headrace creates."""
    signing_key: Path | None = None
    """Private key (PEM file) that retrain signs models with; none: the embedded stack's, where that is used."""
    trusted_keys: list[Path] = []
    """Public keys (PEM files) whose models are used; none: the embedded stack's, where that is used."""
    revoked_keys: list[Path] = []
    """Public keys whose models are used no longer, whatever else is said of them."""
    unsigned_models: Literal["refuse", "accept"] = "refuse"
    """Whether models without a signature are used."""
    models_allow: list[Annotated[str, StringConstraints(pattern=r"^([\w.]+:)?[A-Za-z]\w*$")]] = []
    """ONNX operators that models may use beside those that are known to take each row by itself: ``CumSum``, or with
    their domain, ``com.example:Foo``. How they are used is not looked at before a model is tried."""
    mlflow_uri: str = ""
    """MLflow tracking URI; empty: no tracking."""
    forward_to: Literal["search", "fluentd"] = "search"
    """Where documents go: to the search engine itself, or to Fluentd, which brings them there."""
    search: Search = Search()
    """The search engine."""
    fluentd: Fluentd = Fluentd()
    """The receivers of ``forward_to = "fluentd"``."""
    forward_secret: str = ""
    """Key of the hashes that stand in documents in place of personal data."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    def located(self) -> Settings:
        """These settings with the embedded stack's addresses filled in where none were given.

        Raises:
            ConfigError: no Kafka is named and no embedded stack runs in the state folder.
        """
        stack = running_stack(self.state)
        if self.bootstrap and self.registry_url:
            return self._with_search(stack).with_keys()
        if stack is None:
            missing = "Kafka" if not self.bootstrap else "schema registry"
            raise ConfigError(
                f"no {missing} is named and no stack runs in {self.state}: start one with `headrace up`, "
                "or name yours with --kafka HOST:PORT and --registry URL"
            )
        update = {
            "bootstrap": self.bootstrap or stack["kafka"]["bootstrap"],
            "registry_url": self.registry_url or stack["registry"]["url"],
        }
        return self.model_copy(update=update)._with_search(stack).with_keys()

    def as_principal(self, name: str) -> Settings:
        """These settings with the credentials of a principal, where the embedded stack asks who speaks.

        What is given in ``kafka`` itself wins.
        """
        stack = running_stack(self.state)
        if stack is None or not stack.get("secure") or stack["kafka"]["bootstrap"] != self.bootstrap:
            return self
        own: dict[str, str] = json.loads((self.state / SECURE / CLIENTS / f"{name}.json").read_text())
        return self.model_copy(update={"kafka": {**own, **self.kafka}})

    def _with_search(self, stack: dict[str, Any] | None) -> Settings:
        engine = stack.get("search") if stack and stack["kafka"]["bootstrap"] == self.bootstrap else None
        if self.search.url or not engine:
            return self
        return self.model_copy(update={"search": self.search.model_copy(update={"url": engine["url"]})})

    def with_keys(self) -> Settings:
        """These settings with the keys of the embedded stack's folder, where there are such and none were given."""
        private, public = (self.state.absolute() / KEYS / f"{STACK_KEY}{end}" for end in (".pem", ".pub"))
        if self.signing_key or self.trusted_keys or not public.exists():
            return self
        return self.model_copy(update={"signing_key": private, "trusted_keys": [public]})


def load_settings(**given: Any) -> Settings:
    """Settings from the command line's values (those that are not None), environment and file.

    Raises:
        ConfigError: a value is unknown or of the wrong kind; the message names it.
    """
    try:
        return Settings(**{k: v for k, v in given.items() if v is not None})
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise ConfigError(f"setting '{where}': {first['msg']} (from HEADRACE_* or {CONFIG_FILE})") from None
    except ValueError as e:
        raise ConfigError(f"{CONFIG_FILE} cannot be read: {e}") from None


def running_stack(state: Path) -> dict[str, Any] | None:
    """What ``headrace up`` wrote of the stack that runs in ``state``, or None where none runs."""
    try:
        stack: dict[str, Any] = json.loads((state / STACK_FILE).read_text())
        os.kill(int(stack["kafka"]["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return stack
