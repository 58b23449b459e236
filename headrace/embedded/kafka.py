"""Kafka as one process, broker and controller: its settings, its start, and how it is known to be ready."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headrace.embedded.java import JAVA, QUICK
from headrace.embedded.ports import HOST
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
    "message.max.bytes": str(2 << 20),
    "offsets.retention.minutes": str(10 * 365 * 24 * 60),
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
}


def start(
    jars: tuple[Path, ...], state: StateFolder, ports: dict[str, int], heap_mb: int, quick: bool = False
) -> Server:
    """Start Kafka, after formatting its storage where that was not done yet.

    Raises:
        StackError: the storage cannot be formatted.
    """
    settings = _write_settings(state, ports)
    java = [*JAVA, LOG_LEVEL, "-cp", ":".join(map(str, jars))]
    _format(java, state, settings)
    heap = [f"-Xms{heap_mb}m", f"-Xmx{heap_mb}m", *(QUICK if quick else ["-XX:+UseG1GC"])]
    cmd = [*java, *heap, "kafka.Kafka", str(settings)]
    return Server("Kafka", cmd, state.kafka, state.logs / "kafka.log")


class Probe:
    """Asks a starting Kafka for its metadata."""

    def __init__(self, bootstrap: str) -> None:
        self._client = AdminClient(
            {
                "bootstrap.servers": bootstrap,
                "log_level": 0,
                "reconnect.backoff.ms": 50,
                "reconnect.backoff.max.ms": 100,
            }
        )

    def answers(self) -> bool:
        """Whether the broker answers and takes part in its cluster."""
        try:
            return len(self._client.list_topics(timeout=PROBE_S).brokers) == 1
        except KafkaException:
            return False


def settings_file(state: StateFolder) -> Path:
    """The file Kafka is started with; its path on a command line says whose process that is."""
    return state.kafka / "server.properties"


def _write_settings(state: StateFolder, ports: dict[str, int]) -> Path:
    listener = f"PLAINTEXT://{HOST}:{ports['kafka']}"
    settings = SETTINGS | {
        "log.dirs": str(state.kafka / "data"),
        "listeners": f"{listener},CONTROLLER://{HOST}:{ports['controller']}",
        "advertised.listeners": listener,
        "controller.quorum.voters": f"1@{HOST}:{ports['controller']}",
    }
    file = settings_file(state)
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return file


def _format(java: list[str], state: StateFolder, settings: Path) -> None:
    done = state.kafka / "formatted"
    if done.exists():
        return
    shutil.rmtree(state.kafka / "data", ignore_errors=True)  # what an interrupted format left
    cluster = base64.urlsafe_b64encode(b"\0" + os.urandom(15)).rstrip(b"=").decode()  # may not begin with "-"
    cmd = [*java, *QUICK, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings)]
    Server("Kafka's storage tool", cmd, state.kafka, state.logs / "kafka-format.log").finish(FORMAT_S)
    done.touch()
