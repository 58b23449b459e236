"""The schema registry: ids cached for ever; an outage, a refusal and a 'no such schema' told apart."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

import httpx2 as httpx
from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import OAuthTokenError, SchemaRegistryError

from headrace.config import Settings
from headrace.errors import ConfigError, HeadraceError, SchemaError, Unavailable
from headrace.schema.own import full_name
from headrace.schema.references import inlined
from headrace.schema.unknown import UnknownIds

T = TypeVar("T")
log = logging.getLogger("headrace.registry")

COMPATIBILITY = "BACKWARD_TRANSITIVE"
TIMEOUT_S = 5.0
ABREAST = 4
"""Subjects registered at once: each takes two requests, one after the other."""
_NO_SUCH = {40401, 40402, 40403, 40408}
"""The registry's codes for: no such subject, version, schema, and no compatibility set for the subject."""
_READ_ONLY = 42205
_UNAUTHORIZED, _FORBIDDEN, _INCOMPATIBLE, _UNPROCESSABLE = 401, 403, 409, 422
_NO_PAGE = {400, 404, 405}
_LATER = {408, 425, 429}
_ENOUGH = {COMPATIBILITY, "FULL_TRANSITIVE"}
_SETTING = "HEADRACE_REGISTRY or [registry] of headrace.toml"
_CREDENTIALS = f"see basic.auth.user.info (or another credential) in {_SETTING}, and the rights of that user"
_ADDRESS = "see --registry or HEADRACE_REGISTRY_URL, its path too"
_MODE = "set its mode to READWRITE, or have its owner register the schemas that `headrace schema diff` shows"


class _Refused(ConfigError):
    """The registry refuses, and a repeat would be refused too."""

    def __init__(self, message: str, status: int, code: int) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Registry(Protocol):
    """What headrace asks of a registry."""

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """Register ``schema`` under ``subject`` (again: the same id) and give its id."""

    def register_all(self, schemas: Sequence[tuple[str, dict[str, Any]]]) -> list[int]:
        """Register each schema under its subject, in any order; gives their ids, or raises what the first raised."""

    def schema_id(self, subject: str, schema: dict[str, Any]) -> int:
        """The id ``schema`` has under ``subject``; SchemaError when it is not registered there."""

    def schema_of(self, schema_id: int | str) -> dict[str, Any] | None:
        """The schema with this id, or this GUID, types of other subjects put in; None: the registry knows none.

        SchemaError where it names a type that the registry does not have.
        """

    def latest(self, subject: str) -> dict[str, Any] | None:
        """The newest schema of a subject, or None where it has none."""

    def holds(self, subject: str, schema: dict[str, Any]) -> bool:
        """Whether ``schema`` is registered under ``subject``, in any version."""

    def objection(self, subject: str, schema: dict[str, Any]) -> str:
        """Why the registry would not take ``schema`` under ``subject``; "": it would. Nothing is registered."""


def subject_of(topic: str, schema: dict[str, Any]) -> str:
    """Subject under TopicRecordNameStrategy: ``<topic>-<full record name>``."""
    return f"{topic}-{full_name(schema)}"


class ConfluentRegistry:
    """A Confluent-compatible registry over HTTP.

    Raises (all methods): Unavailable while it is away; ConfigError where it refuses, or is no registry.

    Raises:
        ConfigError: the URL or a property of the client is wrong.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = settings.registry_url
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"registry URL {self.url!r}: give http://HOST:PORT or https://HOST:PORT")
        try:
            self._client = SchemaRegistryClient(
                {"url": self.url, "timeout": TIMEOUT_S, "max.retries": 0, **settings.registry}
            )
        except (ValueError, TypeError, OSError) as e:
            raise ConfigError(f"schema registry property refused: {e} (from {_SETTING})") from None
        self._by_id: dict[int | str, dict[str, Any]] = {}
        self._unknown = UnknownIds()
        self._ids: dict[tuple[str, str], int] = {}

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        self._secure_compatibility(subject)
        given = Schema(json.dumps(schema), "AVRO")
        return int(self._asked(f"to register subject {subject}", lambda: self._client.register_schema(subject, given)))

    def register_all(self, schemas: Sequence[tuple[str, dict[str, Any]]]) -> list[int]:
        with ThreadPoolExecutor(ABREAST, thread_name_prefix="register") as pool:
            return list(pool.map(lambda named: self.register(*named), schemas))

    def schema_id(self, subject: str, schema: dict[str, Any]) -> int:
        text = json.dumps(schema)
        if (subject, text) not in self._ids:
            given = Schema(text, "AVRO")
            found = self._found(f"for subject {subject}", lambda: self._client.lookup_schema(subject, given))
            if found is None:
                raise SchemaError(f"subject {subject} does not hold this schema: run `headrace init PIPELINE` first")
            self._ids[subject, text] = int(found.schema_id or 0)
        return self._ids[subject, text]

    def schema_of(self, schema_id: int | str) -> dict[str, Any] | None:
        if schema_id in self._by_id:
            return self._by_id[schema_id]
        if (reason := self._unknown.reason(schema_id)) is None:
            self._unknown.spend(self._name)
            found = self._by_guid(schema_id) if isinstance(schema_id, str) else self._by_number(schema_id)
            try:
                if found is not None:
                    self._by_id[schema_id] = self._whole(found, ())
                    return self._by_id[schema_id]
                reason = ""
            except SchemaError as e:
                reason = str(e)
            self._unknown.add(schema_id, reason)
        if reason:
            raise SchemaError(reason)
        return None

    def _by_number(self, schema_id: int) -> Schema | None:
        return self._found(f"for schema {schema_id}", lambda: self._client.get_schema(schema_id))

    def _by_guid(self, guid: str) -> Schema | None:
        """The schema of a GUID; a registry that knows none of any says so as one that has no such page."""
        try:
            return self._found(f"for schema {guid}", lambda: self._client.get_schema_by_guid(guid))
        except _Refused as e:
            if e.status in _NO_PAGE:
                return None
            raise

    def latest(self, subject: str) -> dict[str, Any] | None:
        found = self._found(f"for the latest version of subject {subject}", lambda: self._version(subject, "latest"))
        try:
            schema = None if found is None else self._whole(found.schema, ())
        except SchemaError as e:
            raise SchemaError(f"the latest schema of subject {subject} cannot be read: {e}") from None
        return schema if isinstance(schema, dict) else None

    def holds(self, subject: str, schema: dict[str, Any]) -> bool:
        given = Schema(json.dumps(schema), "AVRO")
        return self._found(f"for subject {subject}", lambda: self._client.lookup_schema(subject, given)) is not None

    def objection(self, subject: str, schema: dict[str, Any]) -> str:
        given = Schema(json.dumps(schema), "AVRO")
        what = f"whether it would take a schema of subject {subject}"
        try:
            taken = self._found(
                what, lambda: self._client.test_compatibility_all_versions(subject, given, verbose=True)
            )
        except SchemaError as e:
            return str(e)
        return "" if taken or taken is None else f"{self._name}: it is not compatible with those registered before"

    def _version(self, subject: str, version: int | Literal["latest"]) -> RegisteredSchema:
        # The client answers a second question for the latest version from its cache: a command asks once.
        return self._client.get_version(subject, version)

    def _whole(self, schema: Schema, inside: tuple[tuple[str, int], ...]) -> Any:
        """A schema with the types of other subjects that it names put in.

        Raises:
            SchemaError: the registry does not have one of them, or it is no Avro.
        """
        if schema.schema_type not in (None, "AVRO"):
            raise SchemaError(f"it is of type {schema.schema_type}, no Avro")
        others = []
        for reference in schema.references or ():
            key = (str(reference.subject), int(reference.version or 0))
            where = f"version {key[1]} of subject {key[0]}"
            found = None
            if key not in inside:
                found = self._found(f"for {where}", partial(self._version, *key))
            if found is None:
                raise SchemaError(f"it names {reference.name} of {where}, which the registry does not have")
            others.append(self._whole(found.schema, (*inside, key)))
        return inlined(json.loads(str(schema.schema_str)), others)

    def _secure_compatibility(self, subject: str) -> None:
        """Have the registry refuse what headrace could not read; where it lets others alone set that, see that it is.

        Raises:
            ConfigError: it is not, or the registry refuses to set it for another reason.
        """
        what = f"to set the compatibility of subject {subject} to {COMPATIBILITY}"
        try:
            self._asked(what, lambda: self._client.set_compatibility(subject, COMPATIBILITY))
        except _Refused as e:
            if e.status != _FORBIDDEN and e.code != _READ_ONLY:
                raise
            level = self._compatibility(subject)
            if not level:
                log.warning("%s. It cannot be read either: see that it is set, or records may become unreadable", e)
            elif level not in _ENOUGH:
                raise ConfigError(f"{e}. It is {level}: have it set") from None

    def _compatibility(self, subject: str) -> str:
        """The level that holds for a subject; empty where we may not know."""
        what = f"for the compatibility of subject {subject}"
        try:
            own = self._found(what, lambda: self._client.get_compatibility(subject))
            return str(own or self._asked(what, self._client.get_compatibility))
        except _Refused:
            return ""

    def _found(self, what: str, ask: Callable[[], T]) -> T | None:
        """Ask the registry; None where it says that there is no such thing."""
        try:
            return self._asked(what, ask)
        except _Refused as e:
            if e.code in _NO_SUCH:
                return None
            raise

    def _asked(self, what: str, ask: Callable[[], T]) -> T:
        try:
            try:
                return ask()
            except httpx.TransportError:
                # A connection that was kept may have been let go by the other side, or hang in between: once more.
                return ask()
        except SchemaRegistryError as e:
            raise self._translated(what, e) from None
        except (httpx.HTTPError, OAuthTokenError, OSError) as e:
            raise self._away(e) from e
        except (ValueError, TypeError, AttributeError, KeyError):
            raise ConfigError(f"{self._name}, asked {what}, does not answer as a registry: {_ADDRESS}") from None

    def _translated(self, what: str, e: SchemaRegistryError) -> HeadraceError:
        status, said = e.http_status_code, str(e.error_message)[:300]
        if status >= 500 or status in _LATER:
            return self._away(e)
        if status == _INCOMPATIBLE:
            return SchemaError(
                f"{self._name}, asked {what}: the new schema is not {COMPATIBILITY} with those registered before; "
                f"give added fields a default, or use a new pipeline name ({said})"
            )
        refused = f"{self._name}, asked {what}, refuses with {status}: {said}"
        if e.error_code == _READ_ONLY:
            return _Refused(f"{refused}; {_MODE}", status, e.error_code)
        if status == _UNPROCESSABLE:
            return SchemaError(refused)
        mend = _CREDENTIALS if status in (_UNAUTHORIZED, _FORBIDDEN) else _ADDRESS
        return _Refused(f"{refused}; {mend}", status, e.error_code)

    @property
    def _name(self) -> str:
        return f"schema registry {self.url}"

    def _away(self, cause: Exception) -> Unavailable:
        return Unavailable(f"{self._name} is away: {cause}")


class MemoryRegistry:
    """A registry in memory, the twin of the real one for tests without servers."""

    def __init__(self) -> None:
        self._schemas: list[dict[str, Any]] = []
        self._subjects: dict[str, list[int]] = {}
        self.away = False

    def register(self, subject: str, schema: dict[str, Any], references: Sequence[dict[str, Any]] = ()) -> int:
        """Register a schema; ``references``: schemas that define types it names."""
        self._check()
        schema = inlined(schema, references)
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

    def guid_of(self, schema_id: int) -> str:
        """The GUID of a registered schema."""
        return str(uuid.UUID(int=schema_id))

    def schema_of(self, schema_id: int | str) -> dict[str, Any] | None:
        self._check()
        if isinstance(schema_id, str):
            schema_id = uuid.UUID(schema_id).int
        return self._schemas[schema_id - 1] if 0 < schema_id <= len(self._schemas) else None

    def latest(self, subject: str) -> dict[str, Any] | None:
        self._check()
        versions = self._subjects.get(subject)
        return self._schemas[versions[-1] - 1] if versions else None

    def holds(self, subject: str, schema: dict[str, Any]) -> bool:
        self._check()
        return any(self._schemas[i - 1] == schema for i in self._subjects.get(subject, []))

    def objection(self, subject: str, schema: dict[str, Any]) -> str:
        self._check()
        return ""

    def _check(self) -> None:
        if self.away:
            raise Unavailable("schema registry (in memory) is away")
