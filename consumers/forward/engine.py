"""A search engine, Elasticsearch 8 or 9 or OpenSearch: reached, known for what it is, its errors sorted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from elastic_transport import ConnectionError as NoConnection
from elastic_transport import ConnectionTimeout, TransportError, Urllib3HttpNode
from elasticsearch import ApiError, Elasticsearch

from headrace.config import Search
from headrace.consumers.forward.opensearch import OpenSearchNode
from headrace.consumers.forward.verdicts import mend, verdict
from headrace.errors import ConfigError, HeadraceError, Unavailable

TIMEOUT_S = 30.0
"""Seconds that a request may take. A worker that waits keeps its place in the group for ten times as long."""
CONNECTIONS = 8


class Engine:
    """The search engine that the settings name.

    Raises (all methods): Unavailable when it is away, overloaded, or does not let us in; the message says which.

    Raises:
        ConfigError: no engine is named, or its address is none.
    """

    def __init__(self, search: Search) -> None:
        if not search.url:
            raise ConfigError(
                "no search engine is named: start one with `headrace up --with search`, or set HEADRACE_SEARCH__URL "
                "(or url in [search] of headrace.toml)"
            )
        self.url = search.url
        self.lifecycle = search.lifecycle
        self._search = search
        self._client(Urllib3HttpNode).close()  # what is wrong with the settings shows now

    @cached_property
    def client(self) -> Elasticsearch:
        """A client that knows what it speaks to. Safe to use from several threads."""
        client = self._client(Urllib3HttpNode)
        # Past the client's own check, which knows Elasticsearch alone. An Elasticsearch of few modules has no root.
        for path in ("/", "/_cluster/health"):
            with self.asked("what it is"):
                found = client.transport.perform_request("GET", path, headers={"accept": "application/json"})
            if found.meta.headers.get("x-elastic-product") == "Elasticsearch":
                return client
            version = found.body.get("version", {}) if isinstance(found.body, dict) else {}
            if isinstance(version, dict) and version.get("distribution") == "opensearch":
                client.close()
                return self._client(OpenSearchNode)
        client.close()
        raise Unavailable(
            f"{self.named} is neither Elasticsearch nor OpenSearch: to GET {path} it answers {found.meta.status} "
            f"{_said(found.body)}"
        )

    @contextmanager
    def asked(self, what: str) -> Iterator[None]:
        """Sort the errors of a request: Unavailable where it may go better later, HeadraceError otherwise."""
        try:
            yield
        except ApiError as e:
            said = f"{self.named}, asked for {what}, answers {e.status_code}: {_said(e.body)}"
            error = e.body.get("error", e.body) if isinstance(e.body, dict) else e.body
            if to_change := mend(error):
                said += f"; {to_change}"
            elif e.status_code in (401, 403):
                said += "; see HEADRACE_SEARCH__USERNAME, _PASSWORD and _API_KEY"
            passes = e.status_code in (401, 403, 429) or e.status_code >= 500 or verdict(error) == "engine"
            raise (Unavailable if passes else HeadraceError)(said) from None
        except ConnectionTimeout:
            raise Unavailable(f"{self.named} has not answered for {TIMEOUT_S:g} s") from None
        except NoConnection as e:
            raise Unavailable(f"{self.named} cannot be reached: {e.message}") from None
        except TransportError as e:
            raise Unavailable(f"{self.named}: what came is no answer: {e}") from None

    def close(self) -> None:
        """Let go of connections."""
        if "client" in self.__dict__:
            self.client.close()

    @property
    def named(self) -> str:
        return f"search engine {self.url}"

    def _client(self, node: type[Urllib3HttpNode]) -> Elasticsearch:
        s = self._search
        given: dict[str, Any] = {}
        if s.api_key:
            given["api_key"] = s.api_key
        elif s.username:
            given["basic_auth"] = (s.username, s.password)
        if s.ca is not None:
            given["ca_certs"] = str(s.ca)
        try:
            return Elasticsearch(
                s.url,
                node_class=node,
                request_timeout=TIMEOUT_S,
                connections_per_node=CONNECTIONS,
                max_retries=0,  # those who ask know what may be asked twice
                **given,
            )
        except (ValueError, OSError) as e:
            raise ConfigError(f"search.url = {s.url!r}: {e}; write e.g. http://127.0.0.1:9200") from None


def _said(body: Any) -> str:
    """The reason in an engine's answer, as people read it."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        causes = error.get("root_cause") or [error]
        return f"{error.get('type', '')}: {causes[0].get('reason', error.get('reason', ''))}"
    return str(error)[:500]
