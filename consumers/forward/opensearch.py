"""What makes Elasticsearch's client speak to OpenSearch. It is off for Elasticsearch."""

from __future__ import annotations

from elastic_transport import HttpHeaders, Urllib3HttpNode
from elastic_transport._node import NodeApiResponse
from elastic_transport.client_utils import DEFAULT, DefaultType

PLAIN = {
    "application/vnd.elasticsearch+json": "application/json",
    "application/vnd.elasticsearch+x-ndjson": "application/x-ndjson",
}


class OpenSearchNode(Urllib3HttpNode):
    """Says media types by their plain names, which OpenSearch knows, and says for it what the client wants to hear."""

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> NodeApiResponse:
        plain = HttpHeaders(headers or {})
        for name in ("accept", "content-type"):
            if name in plain:
                plain[name] = ",".join(_plain(part) for part in plain[name].split(","))
        answer = super().perform_request(method, target, body, plain, request_timeout)
        answer.meta.headers["x-elastic-product"] = "Elasticsearch"
        return answer


def _plain(media_type: str) -> str:
    name = media_type.split(";")[0].strip()
    return PLAIN.get(name, name)
