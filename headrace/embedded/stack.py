"""Kafka, the schema registry and a search engine as child processes of this one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

from headrace.config import ADMIN
from headrace.embedded import kafka, ports, registry, search, security
from headrace.embedded.download import Installed, install
from headrace.embedded.kafka import Layout
from headrace.embedded.ports import Ports
from headrace.embedded.server import PortTaken, Server
from headrace.embedded.state import StateFolder
from headrace.errors import StackError

SINGLE = Layout()
READY_S = 90.0
POLL_S = 0.02
PORT_TRIES = 5
"""How often a start tries, each time with other ports in the place of those that were taken before it listened."""


class KafkaDescription(TypedDict):
    """Where Kafka is."""

    bootstrap: str
    pid: int
    log: str


class RegistryDescription(TypedDict):
    """Where the schema registry is."""

    url: str
    pid: int
    log: str


class SearchDescription(TypedDict):
    """Where the search engine is."""

    url: str
    pid: int
    log: str


class Description(TypedDict):
    """What ``stack.json`` holds; every value is None where nothing runs."""

    kafka: KafkaDescription | None
    registry: RegistryDescription | None
    search: SearchDescription | None
    supervisor: int | None
    secure: bool


class Stack:
    """Servers that keep their data in ``state`` and end with this process, however it ends.

    Start it from a thread that lives as long as the stack does: on Linux the servers end with that thread.

    Args:
        state: folder of data and logs; made where it is not there.
        fresh: begin with no data; a second ``start`` of the same stack keeps what the first one wrote.
        layout: how Kafka is laid out.
        registry: whether to start the schema registry too.
        search: whether to start the search engine too.
    """

    def __init__(
        self, state: Path, *, fresh: bool = False, registry: bool = True, search: bool = False, layout: Layout = SINGLE
    ) -> None:
        self._state = StateFolder(state)
        self._fresh = fresh
        self._layout = layout
        self._with_registry = registry
        self._with_search = search
        self._installed: Installed | None = None
        self._ports = Ports(self._state.ports)
        self._brokers: dict[int, Server] = {}
        self._registry: Server | None = None
        self._search: Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def state(self) -> Path:
        """The folder of data and logs, absolute."""
        return self._state.path

    @property
    def bootstrap(self) -> str:
        """Kafka's ``host:port``, of every broker."""
        return ",".join(self._addresses())

    @property
    def through(self) -> int:
        """Port at which the first broker answers those who come by the layout's other way."""
        return self._ports["through"]

    @property
    def registry_url(self) -> str:
        """Root of the registry's Confluent-compatible API."""
        return registry.url(self._ports)

    @property
    def search_url(self) -> str:
        """Root of the search engine's HTTP API."""
        return search.url(self._ports)

    def credentials(self, principal: str) -> dict[str, str]:
        """The client properties with which a principal speaks to Kafka; none where it asks nobody."""
        return security.credentials(self._state, principal) if self._layout.secure else {}

    def describe(self) -> Description:
        """Addresses, process ids and log files."""
        one, other, engine = self._brokers.get(1), self._registry, self._search
        return {
            "kafka": {"bootstrap": self.bootstrap, "pid": one.pid, "log": str(one.log)} if one else None,
            "registry": {"url": self.registry_url, "pid": other.pid, "log": str(other.log)} if other else None,
            "search": {"url": self.search_url, "pid": engine.pid, "log": str(engine.log)} if engine else None,
            "supervisor": os.getpid(),
            "secure": self._layout.secure,
        }

    def start(self) -> None:
        """Start all servers at once and return when all answer.

        A server whose port was taken before it could listen is started again on another.

        Raises:
            StackError: the folder cannot be used, a server died or did not answer, or found its port taken
                ``PORT_TRIES`` times in a row. Nothing is left running.
            DownloadError: a part is missing and cannot be fetched.
        """
        if self._brokers:
            raise StackError(f"this stack already runs, at {self.bootstrap}")
        self._installed = install(search=self._with_search)
        self._state.claim()
        try:
            self._state.unpublish()
            if self._fresh:
                self._state.wipe()
                self._fresh = False
            self._state.provide_key()
            if self._layout.secure:
                security.prepare(self._state, self._layout.principals)
            self._ports.choose(self._layout.brokers)
            if self._with_registry:
                self._registry = self._started_registry()
            if self._with_search:
                self._search = self._started_search()
            self._start_brokers()
            self._until_ready_somewhere()
        except OSError as e:
            self.stop()
            raise self._state.error(e) from e
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all servers and let the folder go; their data stays. Does nothing where none runs."""
        self._ports.release()
        running = self._servers()
        if not running:
            return self._state.release()
        self._state.unpublish()
        for server in running:
            server.terminate()
        for server in running:
            server.stop()
        self._brokers, self._registry, self._search = {}, None, None
        return self._state.release()

    def check(self) -> None:
        """Raises:
        StackError: a server has died; the message quotes the end of its log.
        """
        for server in self._servers():
            server.check()

    @property
    def broker_pids(self) -> list[int]:
        """Process ids of the brokers that run."""
        return [server.pid for server in self._brokers.values() if server.running()]

    def kill_broker(self, node: int = 1) -> None:
        """End a broker at once, as a power cut would; its data stays."""
        if node in self._brokers:
            self._brokers[node].kill()

    def stop_broker(self, node: int = 1) -> None:
        """End a broker as an operator does."""
        if node in self._brokers:
            self._brokers[node].stop()

    def restart_broker(self, node: int = 1) -> None:
        """Start a broker again at the same address, after stopping it where it still runs.

        Raises:
            StackError: it died or did not answer, or its folder cannot be used.
        """
        if self._installed is None:
            raise StackError("this stack was not started: there is no broker to restart")
        self.stop_broker(node)
        try:
            self._brokers[node] = self._started(node)
        except OSError as e:
            raise self._state.error(e) from e
        self._until_ready()

    def stop_registry(self) -> None:
        """Stop the registry; Kafka goes on."""
        if self._registry is not None:
            self._registry.stop()
            self._registry = None

    def start_registry(self) -> None:
        """Start the registry again at the same address."""
        if self._installed is None:
            raise StackError("this stack was not started: there is no registry to start")
        if self._registry is None:
            self._registry = self._started_registry()
            self._until_ready()

    def stop_search(self) -> None:
        """Stop the search engine; the others go on."""
        if self._search is not None:
            self._search.stop()
            self._search = None

    def start_search(self) -> None:
        """Start the search engine again at the same address, with what it held.

        Raises:
            StackError: the stack was not started with one, or it died or did not answer.
        """
        if self._installed is None or not self._with_search:
            raise StackError("this stack was not started with a search engine: there is none to start")
        if self._search is None:
            self._search = self._started_search()
            self._until_ready()

    def _addresses(self) -> list[str]:
        nodes = range(1, self._layout.brokers + 1)
        return [f"{ports.HOST}:{self._ports[ports.named('kafka', node)]}" for node in nodes]

    def _servers(self) -> list[Server]:
        others = (self._registry, self._search)
        return [*self._brokers.values(), *(server for server in others if server is not None)]

    def _start_brokers(self) -> None:
        for node in range(1, self._layout.brokers + 1):
            self._brokers[node] = self._started(node)

    def _started_registry(self) -> Server:
        assert self._installed is not None
        return registry.start(self._installed.registry, self._state, self._ports)

    def _started(self, node: int) -> Server:
        assert self._installed is not None
        return kafka.start(self._installed.kafka, self._state, self._ports, self._layout, node)

    def _started_search(self) -> Server:
        assert self._installed is not None
        return search.start(self._installed.search, self._installed.search_http, self._state, self._ports)

    def _until_ready_somewhere(self) -> None:
        for _ in range(PORT_TRIES - 1):
            try:
                return self._until_ready()
            except PortTaken:
                self._move()
        return self._until_ready()

    def _move(self) -> None:
        """Start the servers that found a port taken again, on other ports; their data and their other ports stay."""
        if any(broker.lost_port() for broker in self._brokers.values()):
            for broker in self._brokers.values():  # each is told the ports of all
                broker.kill()
            self._ports.replace(ports.of_brokers(self._layout.brokers))
            self._start_brokers()
        if self._registry is not None and self._registry.lost_port():
            self._ports.replace(ports.REGISTRY)
            self._registry = self._started_registry()
        if self._search is not None and self._search.lost_port():
            self._ports.replace(ports.SEARCH)
            self._search = self._started_search()

    def _until_ready(self) -> None:
        # Each is asked by itself: the others go on telling of one that was killed until its session ends.
        probes = [kafka.Probe(address, self._layout.brokers, self.credentials(ADMIN)) for address in self._addresses()]
        brokers = {ports.named("kafka", node): broker for node, broker in self._brokers.items()}
        waiting: dict[str, Callable[[], bool]] = {
            "Kafka": lambda: all(probe.answers() for probe in probes) and self._listen(brokers)
        }
        if (one := self._registry) is not None:
            waiting["the schema registry"] = lambda: registry.answers(self._ports) and self._listen({"registry": one})
        if (engine := self._search) is not None:
            waiting["the search engine"] = lambda: search.answers(self._ports) and self._listen({"search": engine})
        deadline = time.monotonic() + READY_S
        while waiting:
            self.check()
            waiting = {name: answers for name, answers in waiting.items() if not answers()}
            if waiting and time.monotonic() > deadline:
                raise StackError(
                    f"{' and '.join(waiting)} did not answer within {READY_S:.0f} s; logs: {self._state.logs}"
                )
            time.sleep(POLL_S if waiting else 0)
        self._state.publish(self.describe())

    def _listen(self, servers: Mapping[str, Server]) -> bool:
        """Whether it is our own servers that answer at the ports of these names."""
        return all(server.listens(self._ports[name]) for name, server in servers.items())
