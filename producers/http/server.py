"""The server: uvicorn around the application, TLS that is renewed while it runs, a clean end."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import ipaddress
import logging
import signal
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from headrace.errors import ConfigError, HeadraceError
from headrace.producers.http.app import App, Served
from headrace.producers.http.auth import Auth, read_keys
from headrace.producers.http.door import Door
from headrace.producers.http.limits import Limits
from headrace.producers.http.oidc import Oidc
from headrace.producers.http.webhook import read_webhook
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.worker.service import YOUNG

log = logging.getLogger("headrace.http")

KEEP_ALIVE_S = 75
LOOK_S = 5.0
"""Between two looks at the files, which may have been renewed."""
CLOSE_S = 30.0


@dataclass(frozen=True)
class Access:
    """Who may send, and how.

    Attributes:
        keys: file of API keys; None: there are none.
        issuer, audience, scope, jwks: of the OIDC tokens that are taken; no issuer: none are.
        certificate, key: PEM files of the server's TLS; None: it speaks plain HTTP.
        insecure: whether anybody may send, from other machines too.
    """

    keys: Path | None = None
    issuer: str = ""
    audience: str = ""
    scope: str = ""
    jwks: str = ""
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = False

    def auth(self, host: str) -> Auth:
        """Asks who sends.

        Raises:
            ConfigError: nobody is asked, and other machines can reach the server; or a file cannot be read.
        """
        tokens = None
        if self.issuer:
            given = {"scope": self.scope} if self.scope else {}
            tokens = Oidc(self.issuer, self.audience, jwks=self.jwks, **given)
        keys = read_keys(self.keys) if self.keys is not None else None
        if keys is None and tokens is None and not self.insecure and not _loopback(host):
            raise ConfigError(
                f"--host {host} can be reached from other machines, and anybody could send: give --api-keys FILE or "
                "--oidc-issuer URL, or say --insecure-no-auth"
            )
        return Auth(keys, tokens)


def serve(
    pipelines: Mapping[str, PipelineTopics],
    webhooks: Mapping[str, Mapping[str, Path]],
    limits: Limits,
    access: Access,
    host: str,
    port: int,
) -> None:
    """Serve until SIGTERM or Ctrl-C: no more requests are taken then, and those under way are answered.

    Args:
        pipelines: name -> its topics.
        webhooks: pipeline -> webhook -> its file.
        limits: of the server.
        access: who may send.
        host, port: where it listens; port 0: any that is free.

    Raises:
        ConfigError: a file or a setting is wrong.
        HeadraceError: Kafka did not get everything, or its client broke.
    """
    server: list[uvicorn.Server] = []

    def broken(why: str) -> None:
        server[0].should_exit = True

    auth = access.auth(host)
    served = {
        name: Served(
            Door(topics, limits, broken),
            {hook: read_webhook(topics, file) for hook, file in webhooks.get(name, {}).items()},
        )
        for name, topics in pipelines.items()
    }
    config = _config(App(served, limits, auth), access, host, port)
    server.append(_Server(config, _renewals(access, auth, served, webhooks, config), [s.door for s in served.values()]))
    # Imports leave half a million objects that never go, and a request's own go by themselves.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
    server[0].run()
    if not server[0].started:
        raise ConfigError(f"port {port} of {host} cannot be listened on: give another --port or --host")
    failed = [s.door.trouble for s in served.values() if s.door.trouble]
    for one in served.values():
        one.door.close(0.0 if failed else CLOSE_S)
    if failed:
        raise HeadraceError(failed[0])
    log.info("stopped cleanly")


class _Server(uvicorn.Server):
    """A server that says where it listens, and takes up files that were renewed."""

    def __init__(self, config: uvicorn.Config, renewals: Sequence[_Renewal], doors: Sequence[Door]) -> None:
        super().__init__(config)
        self._doors = doors
        self._renewals = renewals
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGTERM and Ctrl-C, and then go on to give Kafka what is on its way: uvicorn would die of them."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            where = self.servers[0].sockets[0].getsockname()
            scheme = "https" if self.config.is_ssl else "http"
            log.info("serving /health and /metrics on %s://%s:%d", scheme, *where[:2])
            self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for renewal in self._renewals:
                renewal.look()
            for door in self._doors:
                door.rest()


class _Renewal:
    """Files that are read again when they have changed; while they are wrong, what was read before holds."""

    def __init__(self, files: Sequence[Path], read: Callable[[], object]) -> None:
        self._files = files
        self._read = read
        self._before = self._digest()

    def look(self) -> None:
        found = self._digest()
        if found in (b"", self._before):
            return
        self._before = found
        try:
            self._read()
        except (ConfigError, OSError) as e:
            log.error("%s was changed and is not taken up: %s", self._files[0], e)
        else:
            log.info("%s was changed and is taken up", self._files[0])

    def _digest(self) -> bytes:
        try:
            return b"".join(hashlib.sha256(file.read_bytes()).digest() for file in self._files)
        except OSError:
            return b""


def _renewals(
    access: Access,
    auth: Auth,
    served: Mapping[str, Served],
    webhooks: Mapping[str, Mapping[str, Path]],
    config: uvicorn.Config,
) -> list[_Renewal]:
    found = []
    if (keys := access.keys) is not None:

        def new_keys() -> None:
            auth.keys = read_keys(keys)

        found.append(_Renewal([keys], new_keys))
    if (certificate := access.certificate) is not None:

        def new_certificate() -> None:
            assert isinstance(config.ssl, ssl.SSLContext)
            config.ssl.load_cert_chain(certificate, access.key)

        found.append(_Renewal([certificate, *([access.key] if access.key else [])], new_certificate))
    for name, hooks in webhooks.items():
        for hook, file in hooks.items():

            def new_webhook(name: str = name, hook: str = hook, file: Path = file) -> None:
                served[name].webhooks[hook] = read_webhook(served[name].door.topics, file)

            found.append(_Renewal([file], new_webhook))
    return found


def _config(app: App, access: Access, host: str, port: int) -> uvicorn.Config:
    if access.key is not None and access.certificate is None:
        raise ConfigError("--tls-key goes with --tls-certificate")
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(CLOSE_S),
        ssl_certfile=access.certificate,
        ssl_keyfile=access.key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as e:
        raise ConfigError(f"--tls-certificate {access.certificate}: {e}") from None
    return config


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
