"""The search engine, OpenSearch, as one process: its folder, its start, and how it is known to be ready."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from headrace.embedded.java import JAVA, QUICK
from headrace.embedded.ports import HOST
from headrace.embedded.server import Server
from headrace.embedded.state import StateFolder
from headrace.folders import private_folder

HEAP_MB = 512
PROBE_S = 2.0
MODULE = "transport-netty4"
# It refuses to run as root, and learns through JNA who it is: where JNA finds none of its machine code, it does not
# ask. Containers know no other user, and nobody but this machine reaches it.
NO_JNA = ["-Djna.nosys=true", "-Djna.nounpack=true"]
SETTINGS = {
    "cluster.name": "headrace",
    "node.name": "headrace",
    "network.host": HOST,
    "discovery.type": "single-node",
    "cluster.default_number_of_replicas": 0,
    # A laptop's disk is often fuller than it likes: it would refuse to hold any index.
    "cluster.routing.allocation.disk.threshold_enabled": False,
}
LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%p][%c{1.}] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.bootstrap.name = org.opensearch.bootstrap
logger.bootstrap.level = error
"""


def start(jars: tuple[Path, ...], module: tuple[Path, ...], state: StateFolder, ports: Mapping[str, int]) -> Server:
    """Start the engine with ``jars`` as its class path and ``module`` as its way to speak HTTP."""
    home = state.search
    _prepare(home, jars, module, state.logs, ports)
    memory = [*QUICK, f"-Xmx{HEAP_MB}m", "--enable-native-access=ALL-UNNAMED"]
    folders = [home_property(state), f"-Dopensearch.path.conf={home / 'config'}"]
    cmd = [*JAVA, *memory, *NO_JNA, *folders, "-cp", ":".join(map(str, jars)), "org.opensearch.bootstrap.OpenSearch"]
    return Server("the search engine", cmd, home, state.logs / "search.log")


def url(ports: Mapping[str, int]) -> str:
    """Root of its HTTP API."""
    return f"http://{HOST}:{ports['search']}"


def home_property(state: StateFolder) -> str:
    """Names its folder; on a command line it says whose process that is."""
    return f"-Dopensearch.path.home={state.search}"


def answers(ports: Mapping[str, int]) -> bool:
    """Whether it runs and every index can be read."""
    connection = http.client.HTTPConnection(HOST, ports["search"], timeout=PROBE_S)
    try:
        connection.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _prepare(
    home: Path, jars: tuple[Path, ...], module: tuple[Path, ...], logs: Path, ports: Mapping[str, int]
) -> None:
    """Lay its folder out as it expects: settings, and the module beside a description of it. Data stays."""
    config, modules = home / "config", home / "modules"
    shutil.rmtree(modules, ignore_errors=True)
    private_folder(home)
    for folder in (config, home / "plugins", modules / MODULE):
        folder.mkdir(parents=True, exist_ok=True)
    for jar in module:
        (modules / MODULE / jar.name).symlink_to(jar)
    (modules / MODULE / "plugin-descriptor.properties").write_text(_descriptor(jars))
    (config / "log4j2.properties").write_text(LOGGING)
    own = {"http.port": ports["search"], "transport.port": ports["transport"], "path.logs": str(logs)}
    (config / "opensearch.yml").write_text(json.dumps(SETTINGS | own, indent=1))  # JSON is YAML


def _descriptor(jars: tuple[Path, ...]) -> str:
    version = next(jar.parent.name for jar in jars if jar.parent.parent.name == "opensearch")
    lines = {
        "name": MODULE,
        "description": "HTTP",
        "version": version,
        "opensearch.version": version,
        "java.version": "21",
        "classname": "org.opensearch.transport.Netty4ModulePlugin",
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())
