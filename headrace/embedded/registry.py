"""The schema registry, Apicurio, its schemas on disk in H2: its start, and how it is known to be ready."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from pathlib import Path

from headrace.embedded.java import JAVA, QUICK
from headrace.embedded.ports import HOST
from headrace.embedded.server import Server
from headrace.embedded.state import StateFolder

API = "/apis/ccompat/v7"
HEAP_MB = 256
PROBE_S = 1.0


def start(home: Path, state: StateFolder, ports: Mapping[str, int]) -> Server:
    """Start the registry whose program is unpacked in ``home``."""
    settings = {
        "apicurio.datasource.url": data_url(state),
        "apicurio.rules.global.compatibility": "BACKWARD",
        "apicurio.storage.sql.kind": "h2",
        "quarkus.http.host": HOST,
        "quarkus.http.port": ports["registry"],
        "quarkus.management.host": HOST,  # it would listen on every interface
        "quarkus.management.port": ports["management"],
    }
    properties = [f"-D{key}={value}" for key, value in settings.items()]
    cmd = [*JAVA, *QUICK, f"-Xmx{HEAP_MB}m", *properties, "-jar", str(home / "quarkus-run.jar")]
    return Server("the schema registry", cmd, state.registry, state.logs / "registry.log")


def url(ports: Mapping[str, int]) -> str:
    """Where clients find it: the root of its Confluent-compatible API."""
    return f"http://{HOST}:{ports['registry']}{API}"


def data_url(state: StateFolder) -> str:
    """Where its schemas are; on a command line it says whose process that is."""
    return f"jdbc:h2:file:{state.registry / 'registry'}"


def answers(ports: Mapping[str, int]) -> bool:
    """Whether it lists its subjects."""
    connection = http.client.HTTPConnection(HOST, ports["registry"], timeout=PROBE_S)
    try:
        connection.request("GET", f"{API}/subjects")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
