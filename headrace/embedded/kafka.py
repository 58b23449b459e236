"""Kafka as one process, broker and controller: its settings, its start, and how it is known to be ready."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headrace.embedded.java import JAVA, QUICK, SERIAL
from headrace.embedded.ports import HOST, named
from headrace.embedded.security import broker_settings
from headrace.embedded.server import Server
from headrace.embedded.state import StateFolder

FORMAT_S = 60.0
PROBE_S = 0.3
LOG_LEVEL = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    # A killed broker may register again only when its last session has ended.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
    "log.message.timestamp.type": "CreateTime",
    "log.retention.hours": "-1",
    "message.max.bytes": str(4 << 20),
    "offsets.retention.minutes": str(10 * 365 * 24 * 60),
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    # The least there may be, so that compaction keeps up and loading is quick. A broker that comes back from a kill
    # leads, stops and leads again within a second; where it is still loading an offsets partition then, Kafka 4.1 takes
    # the first load's end for the second's, and the partition's groups never notice again that a member has gone.
    "offsets.topic.segment.bytes": str(1 << 20),
    # What a dead worker left open holds readers back: look for it every second.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
}


REPLICATED = 3
"""Brokers from which on topics have three replicas, of which two must have a record before it counts."""


@dataclass(frozen=True)
class Layout:
    """How a cluster is laid out.

    Attributes:
        brokers: how many, each a controller too.
        heap_mb: heap of each.
        quick: they compile their code quickly and not as well.
        through: port that a second listener of the first broker gives out as its address: for clients that
            reach it by another way, a proxy or a tunnel; 0: there is none.
        principals: who gets a password; with any, Kafka speaks TLS, authenticates its clients, and lets each do what
            ACLs allow. None: it is open to all.
    """

    brokers: int = 1
    heap_mb: int = 512
    quick: bool = False
    through: int = 0
    principals: tuple[str, ...] = ()

    @property
    def secure(self) -> bool:
        """Whether clients must authenticate."""
        return bool(self.principals)

    @property
    def listener(self) -> str:
        """Name of the listener that clients come to."""
        return "SASL_SSL" if self.secure else "PLAINTEXT"


def start(
    jars: tuple[Path, ...], state: StateFolder, ports: Mapping[str, int], layout: Layout, node: int = 1
) -> Server:
    """Start one broker, after formatting its storage where that was not done yet.

    Raises:
        StackError: the storage cannot be formatted.
    """
    folder = state.broker(node)
    own = broker_settings(state, layout.principals) if layout.secure else {}
    settings = _write_settings(folder, ports, layout, node, own)
    java = [*JAVA, LOG_LEVEL, "-cp", ":".join(map(str, jars))]
    name = "Kafka" if layout.brokers == 1 else f"Kafka broker {node}"
    _format(java, state, folder, settings)
    heap = [f"-Xms{layout.heap_mb}m", f"-Xmx{layout.heap_mb}m", *(QUICK if layout.quick else [SERIAL])]
    cmd = [*java, *heap, "kafka.Kafka", str(settings)]
    return Server(name, cmd, folder, state.logs / f"{folder.name}.log")


class Probe:
    """Asks a starting Kafka for its metadata."""

    def __init__(self, bootstrap: str, brokers: int = 1, properties: dict[str, str] | None = None) -> None:
        self._brokers = brokers
        self._client = AdminClient(
            {
                **(properties or {}),
                "bootstrap.servers": bootstrap,
                "log_level": 0,
                "reconnect.backoff.ms": 50,
                "reconnect.backoff.max.ms": 100,
            }
        )

    def answers(self) -> bool:
        """Whether every broker takes part in the cluster."""
        try:
            return len(self._client.list_topics(timeout=PROBE_S).brokers) == self._brokers
        except KafkaException:
            return False


def settings_file(state: StateFolder) -> Path:
    """The file the first broker is started with; its path on a command line says whose process that is."""
    return state.kafka / "server.properties"


def _write_settings(
    folder: Path, ports: Mapping[str, int], layout: Layout, node: int, security: dict[str, str]
) -> Path:
    listener = f"{layout.listener}://{HOST}:{ports[named('kafka', node)]}"
    voters = [f"{n}@{HOST}:{ports[named('controller', n)]}" for n in range(1, layout.brokers + 1)]
    settings = SETTINGS | {
        "node.id": str(node),
        "log.dirs": str(folder / "data"),
        "listeners": f"{listener},CONTROLLER://{HOST}:{ports[named('controller', node)]}",
        "advertised.listeners": listener,
        "controller.quorum.voters": ",".join(voters),
        **security,
    }
    if layout.through and node == 1:
        settings["listeners"] += f",THROUGH://{HOST}:{ports['through']}"
        settings["advertised.listeners"] += f",THROUGH://{HOST}:{layout.through}"
        settings["listener.security.protocol.map"] += ",THROUGH:PLAINTEXT"
        settings["inter.broker.listener.name"] = "PLAINTEXT"
    if layout.brokers >= REPLICATED:
        settings |= {key: "3" for key in settings if key.endswith("topic.replication.factor")}
        settings |= {key: "3" for key in settings if key.endswith("log.replication.factor")}
        settings |= {key: "2" for key in settings if key.endswith(".min.isr")}
        settings["min.insync.replicas"] = "2"
    file = folder / "server.properties"
    file.touch()
    file.chmod(0o600)  # it may hold passwords, and an earlier start may have made it for all to read
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return file


def _format(java: list[str], state: StateFolder, folder: Path, settings: Path) -> None:
    done = folder / "formatted"
    if done.exists():
        return
    shutil.rmtree(folder / "data", ignore_errors=True)  # what an interrupted format left
    cmd = [*java, *QUICK, "kafka.tools.StorageTool", "format", "-t", _cluster(state), "-c", str(settings)]
    log = state.logs / f"{folder.name}-format.log"
    Server("Kafka's storage tool", cmd, folder, log).finish(FORMAT_S)
    done.touch()


def _cluster(state: StateFolder) -> str:
    """The cluster's id, the same for all its brokers."""
    file = state.kafka / "cluster"
    if not file.exists():
        made = base64.urlsafe_b64encode(b"\0" + os.urandom(15)).rstrip(b"=").decode()  # may not begin with "-"
        file.write_text(made)
    return file.read_text()
