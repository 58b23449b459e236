"""The HTTP door as a process on a real Kafka: nothing lost, nothing twice, whoever is killed, stopped or away."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headrace.config import Settings
from headrace.embedded.stack import Stack
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import read_all
from headrace.schema.registry import ConfluentRegistry
from headrace.testing.pipelines import REFERENCE, toy
from headrace.topics.pipeline_topics import PipelineTopics
from tests.unit.asking import click
from tests.waiting import wait_for

pytestmark = pytest.mark.kafka

START_S = 60.0


class Server:
    """A server in a process of its own."""

    def __init__(self, settings: Settings, pipeline: str, *options: str, port: int = 0) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._options = options
        self.path = f"/v1/pipelines/{pipeline}/events"
        self.port = port
        self.start()

    def start(self) -> None:
        """Start it, on the port that it had."""
        s = self._settings
        cmd = [sys.executable, "-m", "headrace", "run", "ingest", "--pipeline", REFERENCE, "--port", str(self.port)]
        cmd += [*self._options, "--kafka", s.bootstrap, "--registry", s.registry_url, "--state", str(s.state)]
        cmd += [word for name, value in s.kafka.items() for word in ("-X", f"{name}={value}")]
        environment = {**os.environ, "TOY_PIPELINE": self._pipeline}
        self.process = subprocess.Popen(cmd, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        self.said: list[str] = []
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"serving /health and /metrics on https?://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break
        else:
            raise AssertionError("".join(self.said))
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        assert self.process.stderr is not None
        self.said += self.process.stderr

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}"

    def end(self, sig: int = signal.SIGTERM) -> int:
        """End it; gives its exit code."""
        self.process.send_signal(sig)
        return self.process.wait(60)


@contextmanager
def serving(settings: Settings, pipeline: str, *options: str) -> Iterator[Server]:
    server = Server(settings, pipeline, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)


def topics_of(settings: Settings, name: str) -> PipelineTopics:
    found = PipelineTopics(toy(name), KafkaLog(settings, name), ConfluentRegistry(settings))
    found.init()
    return found


def sent(topics: PipelineTopics) -> Counter[str]:
    """The click_id of every record on raw, and how often."""
    chunks = read_all(topics.log, topics.topic("raw"))
    return Counter(n for c in chunks for n in topics.codec("raw").decode(c.values).frame()["click_id"])


def places(topics: PipelineTopics) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for c in read_all(topics.log, topics.topic("raw")):
        names = topics.codec("raw").decode(c.values).frame()["click_id"].to_list()
        found |= {n: (c.tp.partition, o) for n, o in zip(names, c.offsets.tolist(), strict=True)}
    return found


async def insist(client: httpx2.AsyncClient, path: str, body: Any, key: str) -> Any:
    """Send until it is answered with 200, as a client does that knows nothing but its key."""
    while True:
        try:
            answer = await client.post(path, json=body, headers={"Idempotency-Key": key})
        except httpx2.HTTPError:
            await asyncio.sleep(0.05)
            continue
        if answer.status_code == 200:
            return answer.json()
        assert answer.status_code in (429, 503), answer.text
        await asyncio.sleep(0.05)


def test_events_of_many_connections_arrive_once_each_where_the_answers_say(
    settings: Settings, unique: Callable[[str], str]
) -> None:
    topics = topics_of(settings, unique("shop"))
    told: dict[str, tuple[int, int]] = {}

    async def one(client: httpx2.AsyncClient, server: Server, c: int) -> None:
        for i in range(20):
            name = f"{c}-{i}"
            found = await client.post(server.path, json=click(name, f"u{c}"))
            assert found.status_code == 200, found.text
            answer = found.json()
            told[name] = (answer["partition"], answer["offset"])
        batch = [click(f"{c}-b{i}", f"u{i}") for i in range(50)]
        results = (await client.post(server.path, json=batch)).json()["results"]
        told.update({e["click_id"]: (r["partition"], r["offset"]) for e, r in zip(batch, results, strict=True)})  # type: ignore[misc]

    async def main(server: Server) -> None:
        async with httpx2.AsyncClient(base_url=server.url(), timeout=60) as client:
            await asyncio.gather(*(one(client, server, c) for c in range(20)))

    with serving(settings, topics.pipeline.name) as server:
        asyncio.run(main(server))
        assert server.end() == 0
    assert set(sent(topics).values()) == {1}
    assert len(told) == 20 * 70
    assert places(topics) == told


def test_a_server_killed_under_load_loses_nothing_and_doubles_nothing_for_clients_that_repeat(
    settings: Settings, unique: Callable[[str], str]
) -> None:
    topics = topics_of(settings, unique("shop"))
    told: dict[str, tuple[int, int]] = {}
    kills = 3

    async def one(client: httpx2.AsyncClient, server: Server, c: int, ended: asyncio.Event) -> None:
        i = 0
        while not ended.is_set():
            name = f"{c}-{i}"
            if i % 5:
                answer = await insist(client, server.path, click(name, f"u{c}"), name)
                told[name] = (answer["partition"], answer["offset"])
            else:
                batch = [click(f"{name}-{k}", f"u{k}") for k in range(10)]
                results = (await insist(client, server.path, batch, name))["results"]
                told.update({f"{name}-{k}": (r["partition"], r["offset"]) for k, r in enumerate(results)})
            i += 1

    async def main(server: Server) -> None:
        ended = asyncio.Event()
        async with httpx2.AsyncClient(base_url=server.url(), timeout=60) as client:
            tasks = [asyncio.create_task(one(client, server, c, ended)) for c in range(16)]
            for _ in range(kills):
                before = len(told)
                while len(told) < before + 300:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(server.end, signal.SIGKILL)
                await asyncio.to_thread(server.start)
            ended.set()
            await asyncio.gather(*tasks)

    with serving(settings, topics.pipeline.name) as server:
        asyncio.run(main(server))
        server.end()
    found = sent(topics)
    assert {name: n for name, n in found.items() if n > 1} == {}
    assert places(topics) == told


@pytest.fixture(scope="module")
def stopped(own_stack: Stack) -> Callable[[int], None]:
    """Sends a signal to the module's own broker."""

    def signalled(sig: int) -> None:
        kafka = own_stack.describe()["kafka"]
        assert kafka is not None
        os.kill(kafka["pid"], sig)

    return signalled


def test_while_kafka_is_paused_events_are_refused_or_kept_and_none_is_lost_or_doubled(
    own_settings: Settings, stopped: Callable[[int], None]
) -> None:
    topics = topics_of(own_settings, "paused")
    with (
        serving(own_settings, "paused", "--answer-s", "1", "--max-waiting", "20") as server,
        httpx2.Client(base_url=server.url(), timeout=60) as client,
    ):

        def post(name: str) -> httpx2.Response:
            return client.post(server.path, json=click(name), headers={"Idempotency-Key": name})

        assert post("before").status_code == 200
        stopped(signal.SIGSTOP)
        try:
            late = post("kept")
            assert (late.status_code, late.json()["code"], late.headers["retry-after"]) == (503, "not_yet", "5")
            full = client.post(server.path, json=[click(f"full{i}") for i in range(20)])
            assert (full.status_code, full.json()["code"]) == (503, "queue_full")
            wait_for(lambda: client.get("/readyz").status_code == 503, 20, "Kafka to be told away")
            assert post("away").json()["code"] == "kafka_away"
            assert client.get("/livez").status_code == 200
            again = post("kept")
            assert (again.status_code, again.json()["code"]) == (503, "not_yet")
        finally:
            stopped(signal.SIGCONT)
        wait_for(lambda: post("kept").status_code == 200, 30, "the event that was kept")
        assert post("kept").json()["repeated"] is True
        wait_for(lambda: post("away").status_code == 200, 30, "Kafka to be back")
        assert client.get("/readyz").status_code == 200
        assert server.end() == 0
    assert sent(topics) == Counter(["before", "kept", "away"])


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own for 127.0.0.1, and its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "door")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "door.pem", folder / "door.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return files


def test_over_tls_a_renewed_certificate_is_taken_up_while_it_runs(
    settings: Settings, unique: Callable[[str], str], tmp_path: Path
) -> None:
    topics = topics_of(settings, unique("shop"))
    pem, key = certificate(tmp_path)

    def post(name: str) -> int:
        context = ssl.create_default_context(cafile=str(pem))
        with httpx2.Client(base_url=server.url("https"), verify=context) as client:
            try:
                return client.post(server.path, json=click(name)).status_code
            except httpx2.ConnectError:
                return 0

    options = ("--tls-certificate", str(pem), "--tls-key", str(key))
    with serving(settings, topics.pipeline.name, *options) as server:
        assert post("a") == 200
        certificate(tmp_path)
        assert post("b") == 0
        wait_for(lambda: post("c") == 200, 30, "the new certificate")
        server.end()
    assert set(sent(topics)) == {"a", "c"}
