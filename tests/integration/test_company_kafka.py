"""Several workers of one command on a real Kafka: a port each, names that nobody shares, and no company for those that
run alone."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from headrace.config import Settings
from headrace.embedded.ports import HOST
from headrace.testing.pipelines import REFERENCE, clicks
from tests.integration.platform import Platform
from tests.waiting import wait_for

pytestmark = pytest.mark.kafka


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("toy"), settings, tmp_path)


@contextmanager
def command(platform: Platform, said: Path, *line: str) -> Iterator[subprocess.Popen[bytes]]:
    """`headrace run ...` as a user starts it; ended afterwards."""
    s = platform.settings
    environment = os.environ | {
        "TOY_PIPELINE": platform.topics.pipeline.name,
        "HEADRACE_BOOTSTRAP": s.bootstrap,
        "HEADRACE_REGISTRY_URL": s.registry_url,
        "HEADRACE_STATE": str(said.parent / "state"),
        "HEADRACE_KAFKA": json.dumps(s.kafka),
        "HEADRACE_UNSIGNED_MODELS": "accept",
    }
    run = [sys.executable, "-m", "headrace", "run", line[0], REFERENCE, *line[1:]]
    with said.open("wb") as out, subprocess.Popen(run, env=environment, stderr=out) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(60)


def two_free_ports() -> int:
    """The first of two neighbouring ports that nobody listens on."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind((HOST, 0))
            port = int(one.getsockname()[1])
            try:
                other.bind((HOST, port + 1))
            except OSError:
                continue
            return port


def worker_at(port: int) -> str:
    """Who is ready behind a port; empty while nobody is."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5) as answer:
            return str(json.load(answer)["worker"])
    except OSError:
        return ""


def test_the_same_command_twice_gives_four_members_none_fenced_and_each_its_port(
    platform: Platform, tmp_path: Path
) -> None:
    group, port = f"{platform.topics.pipeline.name}.preprocess", two_free_ports()
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with ExitStack() as both:
        both.enter_context(command(platform, logs[0], "preprocess", "--workers", "2", "--port", str(port)))
        both.enter_context(command(platform, logs[1], "preprocess", "--workers", "2"))
        wait_for(lambda: len(platform.log.members(group)) == 4, 60, "four members")
        members = platform.log.members(group)
        wait_for(lambda: worker_at(port) and worker_at(port + 1), 60, "both to serve /health")
        assert {worker_at(port), worker_at(port + 1)} < members
        platform.push(clicks(0, 300))
        platform.wait_rows("features", 300)
        assert platform.log.members(group) == members
        serving = re.findall(rf"serving /health and /metrics on http://{re.escape(HOST)}:(\d+)", logs[0].read_text())
        assert sorted(serving) == [str(port), str(port + 1)]
    for log in logs:
        assert re.findall("fenced|another worker", log.read_text()) == []


def test_a_second_monitor_waits_for_the_first_to_leave_and_starts_then(platform: Platform, tmp_path: Path) -> None:
    group = f"{platform.topics.pipeline.name}.monitor"
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    with command(platform, first, "monitor", "--worker-id", "m1") as old:
        wait_for(lambda: platform.log.members(group) == {"m1"}, 60, "the first monitor")
        with command(platform, second, "monitor", "--worker-id", "m2") as new:
            said = f"m1 is a member of group {group}, which takes one worker: waiting up to 60 s for it to leave"
            wait_for(lambda: said in second.read_text(), 60, "the second to say that it waits")
            assert platform.log.members(group) == {"m1"}
            old.send_signal(signal.SIGTERM)
            wait_for(lambda: platform.log.members(group) == {"m2"}, 60, "the second to take over")
            assert new.poll() is None
    assert "stopped cleanly" in first.read_text()
