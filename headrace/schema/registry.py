"""The schema registry: Confluent wire format, ids cached for ever, an outage told apart from a 'no such schema'."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import httpx2 as httpx
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from headrace.config import Settings
from headrace.errors import ConfigError, SchemaError, Unavailable
from headrace.schema.own import full_name

COMPATIBILITY = "BACKWARD_TRANSITIVE"
TIMEOUT_S = 5.0
ABREAST = 4
"""Subjects registered at once: each takes two requests, one after the other."""
_NO_SUCH_SCHEMA = {40401, 40402, 40403}
_INCOMPATIBLE = 409


class Registry(Protocol):
    """What headrace asks of a registry."""

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """Register ``schema`` under ``subject`` (again: the same id) and give its id."""

    def register_all(self, schemas: Sequence[tuple[str, dict[str, Any]]]) -> list[int]:
        """Register each schema under its subject, in any order; gives their ids, or raises what the first raised."""

    def schema_id(self, subject: str, schema: dict[str, Any]) -> int:
        """The id ``schema`` has under ``subject``; SchemaError when it is not registered there."""

    def schema_of(self, schema_id: int) -> dict[str, Any] | None:
        """The schema with this id, or None when the registry knows none."""


def subject_of(topic: str, schema: dict[str, Any]) -> str:
    """Subject under TopicRecordNameStrategy: ``<topic>-<full record name>``."""
    return f"{topic}-{full_name(schema)}"


class ConfluentRegistry:
    """A Confluent-compatible registry over HTTP. Methods raise Unavailable while it is away."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.registry_url
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"registry URL {self.url!r}: give http://HOST:PORT or https://HOST:PORT")
        self._client = SchemaRegistryClient(
            {"url": self.url, "timeout": TIMEOUT_S, "max.retries": 0, **settings.registry}
        )
        self._by_id: dict[int, dict[str, Any]] = {}
        self._ids: dict[tuple[str, str], int] = {}

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        try:
            self._client.set_compatibility(subject, COMPATIBILITY)
            return int(self._client.register_schema(subject, Schema(json.dumps(schema), "AVRO")))
        except SchemaRegistryError as e:
            if e.http_status_code == _INCOMPATIBLE:
                raise SchemaError(
                    f"subject {subject}: the new schema is not {COMPATIBILITY} with those registered before; "
                    f"give added fields a default, or use a new pipeline name ({e.error_message})"
                ) from None
            raise self._away(e) from e
        except (httpx.HTTPError, OSError) as e:
            raise self._away(e) from e

    def register_all(self, schemas: Sequence[tuple[str, dict[str, Any]]]) -> list[int]:
        with ThreadPoolExecutor(ABREAST, thread_name_prefix="register") as pool:
            return list(pool.map(lambda named: self.register(*named), schemas))

    def schema_id(self, subject: str, schema: dict[str, Any]) -> int:
        text = json.dumps(schema)
        if (subject, text) not in self._ids:
            try:
                found = self._client.lookup_schema(subject, Schema(text, "AVRO"))
            except SchemaRegistryError as e:
                if e.error_code in _NO_SUCH_SCHEMA or e.http_status_code == 404:
                    raise SchemaError(
                        f"subject {subject} does not hold this schema: run `headrace init PIPELINE` first"
                    ) from None
                raise self._away(e) from e
            except (httpx.HTTPError, OSError) as e:
                raise self._away(e) from e
            self._ids[subject, text] = int(found.schema_id or 0)
        return self._ids[subject, text]

    def schema_of(self, schema_id: int) -> dict[str, Any] | None:
        if schema_id not in self._by_id:
            try:
                found = self._client.get_schema(schema_id)
            except SchemaRegistryError as e:
                if e.error_code in _NO_SUCH_SCHEMA or e.http_status_code == 404:
                    return None
                raise self._away(e) from e
            except (httpx.HTTPError, OSError) as e:
                raise self._away(e) from e
            self._by_id[schema_id] = json.loads(str(found.schema_str))
        return self._by_id[schema_id]

    def _away(self, cause: Exception) -> Unavailable:
        return Unavailable(f"schema registry {self.url} is away: {cause}")


class MemoryRegistry:
    """A registry in memory, the twin of the real one for tests without servers."""

    def __init__(self) -> None:
        self._schemas: list[dict[str, Any]] = []
        self._subjects: dict[str, list[int]] = {}
        self.away = False

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        self._check()
        if schema not in self._schemas:
            self._schemas.append(schema)
        schema_id = self._schemas.index(schema) + 1
        versions = self._subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id

    def register_all(self, schemas: Sequence[tuple[str, dict[str, Any]]]) -> list[int]:
        return [self.register(*named) for named in schemas]

    def schema_id(self, subject: str, schema: dict[str, Any]) -> int:
        self._check()
        for schema_id in self._subjects.get(subject, []):
            if self._schemas[schema_id - 1] == schema:
                return schema_id
        raise SchemaError(f"subject {subject} does not hold this schema: run `headrace init PIPELINE` first")

    def schema_of(self, schema_id: int) -> dict[str, Any] | None:
        self._check()
        return self._schemas[schema_id - 1] if 0 < schema_id <= len(self._schemas) else None

    def _check(self) -> None:
        if self.away:
            raise Unavailable("schema registry (in memory) is away")
