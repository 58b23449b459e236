"""The search engines that documents are forwarded to: the embedded one, and the real Elasticsearch where it can run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from headrace.embedded import maven
from headrace.embedded.cache import Cache, cache_folder
from headrace.embedded.kafka import Layout
from headrace.embedded.parts import Part
from headrace.embedded.server import Server
from headrace.embedded.stack import Stack
from headrace.errors import DownloadError
from tests.ports import free_port
from tests.waiting import wait_for

ENGINES = ("opensearch", "elasticsearch")
JAVA = range(17, 24)
"""Versions of Java that it runs on."""
START_S = 90
ZIP = Part(
    group="org.elasticsearch.distribution.integ-test-zip",
    artifact="elasticsearch",
    version="8.19.21",
    classifier="",
    packaging="zip",
    sha256="215d5f3dbf0609a149f6218a9e47b6ae2df34ebbff3c5754e35f15a5e5393c8a",
    size=106_871_955,
)


@contextmanager
def engine_of(kind: str, folder: Path) -> Iterator[str]:
    """Run an engine in a folder; gives its URL. A test that cannot have it is skipped."""
    if kind == "elasticsearch":
        with _elasticsearch(folder) as url:
            yield url
    else:
        with Stack(folder / "state", registry=False, search=True, layout=Layout(quick=True)) as stack:
            yield stack.search_url


@contextmanager
def _elasticsearch(folder: Path) -> Iterator[str]:
    java, home = _java(), _home()
    port, transport = free_port(), free_port()
    config = folder / "config"
    shutil.copytree(home / "config", config)
    settings = {
        "cluster.name": "headrace-tests",
        "network.host": "127.0.0.1",
        "http.port": port,
        "transport.port": transport,
        "discovery.type": "single-node",
        "xpack.security.enabled": False,
        "path.data": str(folder / "data"),
        "path.logs": str(folder / "logs"),
        "cluster.routing.allocation.disk.threshold_enabled": False,
    }
    (config / "elasticsearch.yml").write_text(json.dumps(settings))  # JSON is YAML
    # It refuses to run as root, which it learns through JNA: where that finds no machine code, it does not ask.
    options = "-Xms512m -Xmx512m -Djna.nosys=true -Djna.nounpack=true -Djna.boot.library.path=/nowhere"
    environment = [f"ES_JAVA_HOME={java}", f"ES_PATH_CONF={config}", f"ES_JAVA_OPTS={options}"]
    server = Server(
        "Elasticsearch", ["env", *environment, str(home / "bin" / "elasticsearch")], folder, folder / "out.log"
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(server, url), START_S, "Elasticsearch to answer")
        yield url
    finally:
        server.stop()


def _answers(server: Server, url: str) -> bool:
    server.check()
    try:
        return httpx2.get(f"{url}/_cluster/health?wait_for_status=yellow&timeout=1s").status_code == 200
    except httpx2.TransportError:
        return False


def _java() -> Path:
    """The home of a Java that it runs on."""
    java = shutil.which("java")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr if java else ""
    version = re.search(r'version "(\d+)', said)
    if java is None or version is None or int(version[1]) not in JAVA:
        pytest.skip(f"Elasticsearch needs Java {JAVA.start} to {JAVA.stop - 1} on the PATH")
    return Path(os.path.realpath(java)).parents[1]


def _home() -> Path:
    """Where it is unpacked; brought there once."""
    cache = Cache(cache_folder())
    home = cache.unpacked(ZIP)
    with cache.locked():
        if not home.exists():
            try:
                cache.add(ZIP, maven.fetch(ZIP, cache.partial / ZIP.sha256[:12], lambda _: None))
            except DownloadError as e:
                pytest.skip(f"Elasticsearch cannot be fetched: {e}")
            partial = cache.partial / home.name
            with zipfile.ZipFile(cache.path(ZIP)) as archive:
                archive.extractall(partial)
            for program in (partial / f"elasticsearch-{ZIP.version}" / "bin").iterdir():
                program.chmod(0o755)
            home.parent.mkdir(parents=True, exist_ok=True)
            (partial / f"elasticsearch-{ZIP.version}").rename(home)
            shutil.rmtree(partial)
            cache.path(ZIP).unlink()
    return home
