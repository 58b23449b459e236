"""``headrace run ingest``: events over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.connect import connection
from headrace.cli.progress import LINE
from headrace.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("run ingest")(ingest)


def ingest(
    ctx: typer.Context,
    pipeline: Annotated[
        list[str],
        typer.Option(metavar="PIPELINE", show_default=False, help="Whose events are taken; repeatable."),
    ],
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 picks a free one.")] = 8080,
    host: Annotated[str, typer.Option(help="Address. Any but a loopback one needs keys or tokens.")] = "127.0.0.1",
    api_keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML: [keys.NAME] with sha256 and, for some, pipelines.")
    ] = None,
    oidc_issuer: Annotated[str, typer.Option(metavar="URL", help="Take bearer tokens of this issuer.")] = "",
    oidc_audience: Annotated[str, typer.Option(metavar="NAME", help="What tokens must name in aud.")] = "",
    oidc_scope: Annotated[
        str, typer.Option(metavar="NAME", help="What tokens must have in scope, alone or with :PIPELINE behind it.")
    ] = "headrace.ingest",
    oidc_jwks: Annotated[
        str, typer.Option(metavar="URL", help="The issuer's keys (default: its discovery document names them).")
    ] = "",
    insecure_no_auth: Annotated[
        bool, typer.Option("--insecure-no-auth", help="Let anybody send, from other machines too.")
    ] = False,
    tls_certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of the server's certificate and its chain.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM file of its private key.")] = None,
    webhook: Annotated[
        list[str] | None,
        typer.Option(metavar="[PIPELINE/]NAME=FILE", help="A webhook and the file of its mapping; repeatable."),
    ] = None,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of a body, decompressed too.")] = 8 << 20,
    max_events: Annotated[int, typer.Option(min=1, help="Events of a request.")] = 10_000,
    max_requests: Annotated[int, typer.Option(min=1, help="Requests under way at once.")] = 1_000,
    max_waiting: Annotated[int, typer.Option(min=1, help="Events that wait for Kafka at once.")] = 100_000,
    rate: Annotated[float, typer.Option(min=0, help="Events a second of each caller; 0: any number.")] = 0.0,
    answer_s: Annotated[float, typer.Option(min=0.1, help="Seconds that a request waits for Kafka.")] = 20.0,
    remember_s: Annotated[
        float, typer.Option(min=1, help="Seconds for which a repeat of an id is recognised, over restarts too.")
    ] = 600.0,
    remembered: Annotated[int, typer.Option(min=1, help="Ids remembered at once.")] = 2_000_000,
) -> None:
    """Take events over HTTP until SIGTERM or Ctrl-C. See /openapi.json of the server, and docs/http.md.

    A request is answered when Kafka has its events. A repeat under the same Idempotency-Key, or of the same CloudEvent,
    is answered as the first was and sends nothing.
    """
    LINE.end()
    from headrace.client.connect import open_topics
    from headrace.producers.http.limits import Limits
    from headrace.producers.http.server import Access, serve
    from headrace.topics.parties import INGEST
    from headrace.worker.service import log_lines, worker_name

    worker = worker_name(INGEST.name)
    log_lines(worker)
    settings = connection(ctx).settings(INGEST.name)
    found = [open_topics(name, settings, worker) for name in pipeline]
    topics = {t.pipeline.name: t for t in found}
    limits = Limits(
        body=max_body,
        events=max_events,
        rate=rate,
        concurrent=max_requests,
        waiting=max_waiting,
        answer_s=answer_s,
        remember_s=remember_s,
        remembered=remembered,
    )
    access = Access(
        keys=api_keys,
        issuer=oidc_issuer,
        audience=oidc_audience,
        scope=oidc_scope,
        jwks=oidc_jwks,
        certificate=tls_certificate,
        key=tls_key,
        insecure=insecure_no_auth,
    )
    serve(topics, _webhooks(webhook or [], list(topics)), limits, access, host, port)


def _webhooks(given: list[str], pipelines: list[str]) -> dict[str, dict[str, Path]]:
    """Pipeline -> webhook -> file.

    Raises:
        ConfigError: one is not written so, or names no pipeline that is served.
    """
    found: dict[str, dict[str, Path]] = {}
    for text in given:
        named, equals, file = text.partition("=")
        pipeline, slash, name = named.rpartition("/")
        pipeline = pipeline if slash else pipelines[0]
        if not equals or not file or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            raise ConfigError(f"--webhook {text}: give [PIPELINE/]NAME=FILE, NAME of letters, digits, - and _")
        if pipeline not in pipelines or (not slash and len(pipelines) > 1):
            raise ConfigError(f"--webhook {text}: say of which pipeline it is: {', '.join(pipelines)}")
        found.setdefault(pipeline, {})[name] = Path(file)
    return found
