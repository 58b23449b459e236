"""Bearer tokens of an OpenID Connect issuer: JWTs signed with one of its keys, which are fetched and kept a while."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from headrace.errors import ConfigError, Unavailable
from headrace.producers.http.auth import Caller, unauthorized
from headrace.producers.http.problem import Problem

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
"""Signatures with a public key: never ``none``, never one with a shared secret."""
KEPT_S = 600.0
SOONEST_S = 10.0
"""Between two fetches because of a key that is not known: anybody can make one up."""
TIMEOUT_S = 5.0
LEEWAY_S = 30
MOST = 10_000
LONGEST = 8_192
SCOPE = "headrace.ingest"


class Oidc:
    """Reads tokens of one issuer.

    Args:
        issuer: its URL, as tokens name it in ``iss``.
        audience: what tokens must name in ``aud``.
        scope: what they must have in ``scope`` or ``scp``: itself for every pipeline, or with ``:PIPELINE`` for one.
        jwks: URL of the key set; empty: the issuer's discovery document names it.
    """

    def __init__(self, issuer: str, audience: str, scope: str = SCOPE, jwks: str = "") -> None:
        if not audience:
            raise ConfigError(f"OIDC issuer {issuer}: say which audience its tokens must have")
        self._issuer = issuer
        self._scope = scope
        self._jwks = jwks
        self._keys: KeySet | None = None
        self._fetched = 0.0
        self._tried = 0.0
        self._fetching = asyncio.Lock()
        self._claims = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        self._known: dict[str, tuple[float, Caller]] = {}
        """Tokens whose signature was checked -> until when they hold."""

    async def caller(self, token: str) -> Caller:
        """Who a token stands for.

        Raises:
            Problem: 401: it is not this issuer's, or does not hold; 403: it has no scope of ours; 503: the issuer's
                keys cannot be fetched.
        """
        known = self._known.get(token)
        if known is not None and known[0] > time.time():
            return known[1]
        if len(token) > LONGEST:
            raise unauthorized("the token is too long")
        claims = await self._checked(token)
        found = self._caller(claims)
        if len(self._known) >= MOST:
            self._known.clear()
        # A key that the issuer takes back must not go on for as long as its tokens would.
        self._known[token] = (min(float(claims["exp"]), time.time() + KEPT_S), found)
        return found

    async def _checked(self, token: str) -> dict[str, Any]:
        if self._keys is None or time.monotonic() - self._fetched > KEPT_S:
            await self._fetch()
        for again in (False, True):
            assert self._keys is not None
            try:
                decoded = jwt.decode(token, self._keys, algorithms=ALGORITHMS)
                self._claims.validate(decoded.claims)
            except (JoseError, ValueError, TypeError, KeyError) as e:
                # The issuer may sign with a new key since.
                unknown = isinstance(e, ValueError) or "key" in str(e).lower() or "kid" in str(e).lower()
                if again or not unknown or time.monotonic() - self._tried < SOONEST_S:
                    raise unauthorized(f"the token is not taken: {e}") from None
                await self._fetch()
            else:
                return decoded.claims
        raise AssertionError("the loop returns or raises")

    def _caller(self, claims: dict[str, Any]) -> Caller:
        given = claims.get("scope", claims.get("scp", ""))
        scopes = given.split() if isinstance(given, str) else [str(s) for s in given]
        name = f"{claims['sub']}"[:200]
        if not name.isprintable():
            raise unauthorized("the token's sub is not printable")
        if self._scope in scopes:
            return Caller(f"oidc:{name}")
        pipelines = frozenset(s.removeprefix(f"{self._scope}:") for s in scopes if s.startswith(f"{self._scope}:"))
        if not pipelines:
            raise Problem(403, "forbidden", f"the token has neither scope {self._scope} nor {self._scope}:PIPELINE")
        return Caller(f"oidc:{name}", pipelines)

    async def _fetch(self) -> None:
        before = self._tried
        async with self._fetching:
            if self._tried != before:
                if self._keys is None:
                    raise Problem(503, "issuer_away", "the issuer's keys cannot be fetched", retry_after=5)
                return
            self._tried = time.monotonic()
            try:
                self._keys = await self._fetched_keys()
                self._fetched = time.monotonic()
            except (httpx2.HTTPError, Unavailable, ValueError, KeyError, TypeError, JoseError) as e:
                if self._keys is None:
                    told = f"the keys of {self._issuer} cannot be fetched: {e}"
                    raise Problem(503, "issuer_away", told, retry_after=5) from None

    async def _fetched_keys(self) -> KeySet:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as client:
            url = self._jwks
            if not url:
                told = await client.get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
                told.raise_for_status()
                document = told.json()
                if document["issuer"] != self._issuer:
                    raise Unavailable(f"its discovery document is that of {document['issuer']}")
                url = document["jwks_uri"]
            answer = await client.get(url)
            answer.raise_for_status()
            keys = answer.json()["keys"]
            # A set may hold kinds of keys that are not read here, beside those that are.
            return KeySet.import_key_set({"keys": [k for k in keys if k.get("kty") in ("RSA", "EC", "OKP")]})
