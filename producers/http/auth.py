"""Who sends a request, and whether they may send to a pipeline: API keys, and bearer tokens of an OIDC issuer."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.errors import ConfigError
from headrace.producers.http.problem import Problem

_NAME = re.compile(r"[\w.@-]{1,100}", re.ASCII)


class Caller(NamedTuple):
    """Somebody who may send.

    Attributes:
        name: for rates, ids and figures; empty: nobody was asked.
        pipelines: those to which they may send; None: to all.
    """

    name: str
    pipelines: frozenset[str] | None = None


ANYBODY = Caller("")


class Tokens(Protocol):
    """Reads bearer tokens that are no API keys."""

    async def caller(self, token: str) -> Caller:
        """Who a token stands for. Raises Problem 401, or 503 where that cannot be told for now."""


class ApiKey(BaseModel):
    """One key of the file: the hash of what is sent, and the pipelines to which its owner may send (none: all)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    pipelines: list[str] | None = None


def read_keys(file: Path) -> dict[str, Caller]:
    """The callers of a file of API keys, by the hash of their key.

    The file is TOML: a table ``[keys.NAME]`` each, with ``sha256`` and, where it may not send to all, ``pipelines``.

    Raises:
        ConfigError: it cannot be read; the message names the file and the key.
    """
    try:
        told = tomllib.loads(file.read_text())
    except OSError as e:
        raise ConfigError(f"API keys {file}: {e.strerror}") from None
    except ValueError as e:
        raise ConfigError(f"API keys {file}: {e}") from None
    if told.keys() != {"keys"} or not isinstance(told["keys"], dict):
        raise ConfigError(f"API keys {file}: give a table [keys.NAME] for each key, and nothing beside them")
    found: dict[str, Caller] = {}
    for name, given in told["keys"].items():
        try:
            key = ApiKey.model_validate(given)
        except ValidationError as e:
            first = e.errors()[0]
            where = ".".join(map(str, (name, *first["loc"])))
            raise ConfigError(f"API keys {file}: [keys.{where}]: {first['msg']}") from None
        if not _NAME.fullmatch(name):
            raise ConfigError(f"API keys {file}: {name!r} is no name: use letters, digits and . _ - @")
        if key.sha256 in found:
            raise ConfigError(f"API keys {file}: {name} and {found[key.sha256].name} have one key")
        found[key.sha256] = Caller(name, None if key.pipelines is None else frozenset(key.pipelines))
    return found


class Auth:
    """Asks who sends.

    Args:
        keys: API keys: hash -> caller; None: there are none.
        tokens: reads bearer tokens; None: there are none.
    """

    def __init__(self, keys: Mapping[str, Caller] | None, tokens: Tokens | None) -> None:
        self.keys = keys
        self._tokens = tokens
        self._open = keys is None and tokens is None

    @property
    def open(self) -> bool:
        """Whether nobody is asked."""
        return self._open

    async def caller(self, headers: Mapping[bytes, bytes], pipeline: str) -> Caller:
        """Who sends a request to a pipeline.

        Raises:
            Problem: 401: they do not say, or not truly; 403: they may not; 503: it cannot be told for now.
        """
        if self._open:
            return ANYBODY
        found = await self._found(headers)
        if found.pipelines is not None and pipeline not in found.pipelines:
            raise Problem(403, "forbidden", f"{found.name} may not send to pipeline {pipeline}")
        return found

    async def _found(self, headers: Mapping[bytes, bytes]) -> Caller:
        given = headers.get(b"x-api-key")
        if given is None:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            given = given.strip()
            if scheme.lower() != b"bearer" or not given:
                raise unauthorized("give an API key or a token: Authorization: Bearer ...")
        if self.keys:
            # Looking a hash up takes no longer for a key that is nearly right.
            known = self.keys.get(hashlib.sha256(given).hexdigest())
            if known is not None:
                return known
        if self._tokens is None or given.count(b".") != 2:
            raise unauthorized("the API key is not known")
        return await self._tokens.caller(given.decode("latin-1"))


def unauthorized(why: str) -> Problem:
    """401, with what is to be sent."""
    return Problem(401, "unauthorized", why, headers=((b"www-authenticate", b"Bearer"),))
