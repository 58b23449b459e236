"""Versions of topics on a real Kafka with a real DVC, through the commands as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from headrace.cli import app
from headrace.config import Settings
from headrace.errors import HeadraceError
from headrace.jobs.train.dataset import read_examples
from headrace.jobs.versions import dvc
from headrace.jobs.versions.examples import archived_examples
from headrace.jobs.versions.folder import DataFolder
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Output, read_all
from headrace.schema.records import OffsetRange
from headrace.testing.models import model_package
from headrace.testing.pipelines import BEGIN, REFERENCE, clicks, toy
from tests.integration.platform import Platform
from tests.unit.test_versions import rewritten
from tests.waiting import wait_for


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("toy"), settings, tmp_path)


class Commands:
    """The commands on one pipeline and one data folder."""

    def __init__(self, platform: Platform, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("headrace.testing.pipelines.pipeline", platform.topics.pipeline)
        self._common = ["--data", str(data), *where(platform.settings)]

    def __call__(self, name: str, *args: str, code: int = 0, as_json: bool = True) -> Any:
        """What a command prints; where it is refused, its one line."""
        cmd = [*name.split(), REFERENCE, *args, *self._common, *(["--json"] if as_json else [])]
        done = CliRunner().invoke(app, cmd)
        if isinstance(done.exception, HeadraceError):
            assert done.exception.exit_code == code, done.exception
            assert "\n" not in str(done.exception)
            return str(done.exception)
        assert done.exit_code == code, (done.output, done.exception)
        return json.loads(done.stdout) if as_json else done.output


@pytest.fixture
def run(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(platform, tmp_path / "data", monkeypatch)


def where(settings: Settings) -> list[str]:
    return ["--kafka", settings.bootstrap, "--registry", settings.registry_url, "--state", str(settings.state)]


def records_of(platform: Platform, topic: str) -> dict[int, list[tuple[bytes | None, bytes | None]]]:
    found: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
    for chunk in read_all(platform.log, topic, settled=True):
        found.setdefault(chunk.tp.partition, []).extend(zip(chunk.keys, chunk.values, strict=True))
    return found


def dvc_run(folder: Path, *args: str) -> None:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    subprocess.run([sys.executable, "-m", "dvc", *args], cwd=folder, env=environment, check=True, capture_output=True)


def topics_there(platform: Platform) -> set[str]:
    client = AdminClient({"bootstrap.servers": platform.settings.bootstrap, **client_properties(platform.settings)})
    return set(client.list_topics(timeout=10).topics)


def client_properties(settings: Settings) -> dict[str, str]:
    return {k: v for k, v in settings.kafka.items() if not k.startswith("session.")}


def test_a_version_is_frozen_pushed_lost_pulled_and_restored(platform: Platform, run: Commands, tmp_path: Path) -> None:
    data, topic = tmp_path / "data", platform.topics.topic("raw")
    platform.push(clicks(0, 500))
    platform.push_bytes([None, b"\x00damaged", b""])
    assert "DVC has no default remote to push to: mkdir -p" in run("data snapshot", "raw", "--push", code=2)
    assert not data.exists()
    first = run("data snapshot", "raw")
    assert (first["written"], first["records"]) == (True, 1003)
    assert f"cd {data} && dvc remote add -d NAME URL" in run("data snapshot", "raw", "--push", code=2)
    dvc_run(data, "remote", "add", "-d", "local", str(tmp_path / "remote"))
    pushed = run("data snapshot", "raw", "--push")
    assert (pushed["version"], pushed["written"]) == (first["version"], False)

    # Tampered with: named, and nothing written.
    there = topics_there(platform)
    file = next(Path(first["folder"]).glob("p*.parquet"))
    rewritten(file, "_value", 3, b"other")
    said = run("data restore", "raw", first["version"][:6], code=1)
    assert f"{file} was changed: among its records" in said
    assert said.endswith("(nothing was written to a topic)")
    assert topics_there(platform) == there

    # Lost, but for what a clone of the repository has: DVC pulls it.
    shutil.rmtree(first["folder"])
    shutil.rmtree(data / ".dvc" / "cache")
    [row] = run("data list")
    assert (row["version"], row["state"], row["records"]) == (first["version"], "in DVC", 1003)
    restored = run("data restore", "raw", first["version"][:6])
    assert restored["topic"] == f"{topic}.restored-{first['version']}"
    assert restored["forest_root"] == first["forest_root"]
    assert records_of(platform, restored["topic"]) == records_of(platform, topic)
    assert platform.log.retention(restored["topic"]) is None
    again = run("data snapshot", "raw", "--at", "2100-01-01T00:00:00Z")
    assert (again["version"], again["written"]) == (first["version"], False)
    assert "is not empty" in run("data restore", "raw", first["version"], "--to", topic, code=2)


def test_what_is_not_there_is_one_clear_line(platform: Platform, run: Commands, tmp_path: Path) -> None:
    platform.push(clicks(0, 20))
    refused: list[tuple[Sequence[str], str]] = [
        (["data snapshot", "raw", "--ranges", "0:0-99999"], "goes past what is committed"),
        (["data snapshot", "raw", "--ranges", "9:0-1"], "has no partition 9"),
        (["data snapshot", "raw", "--ranges", "0-5"], "give PARTITION:FIRST-STOP"),
        (["data snapshot", "raw", "--ranges", "0:0-5", "--at", "2026-01-01"], "give one of them"),
        (["data snapshot", "raw", "--at", "yesterday"], "give a time as in"),
        (["data snapshot", "models"], "no dataset 'models': name one of raw, "),
        (["data snapshot", "labels"], "there is nothing on"),
        (["data restore", "raw", "abc"], "begins with 'abc'; there are: none"),
        (["data guard", "--within", "soon"], "give a span as in 45s, 30m, 12h, 2d or 1w"),
    ]
    for cmd, said in refused:
        assert said in run(*cmd, code=2)
    assert not (tmp_path / "data").exists()


def examples(platform: Platform, count: int) -> None:
    """Write examples as the join does, to one partition."""
    n = range(count)
    rows = pl.DataFrame(
        {
            "id": [f"c{i}" for i in n],
            "key": ["user1"] * count,
            "event_time": [BEGIN] * count,
            "raw_offset": list(n),
            "price": [i / count for i in n],
            "seen_10m": list(n),
            "label": [float(i % 2) for i in n],
            "label_time": [BEGIN] * count,
            "feature_offset": list(n),
            "label_offset": list(n),
        }
    )
    writer = platform.log.writer(f"{platform.topics.pipeline.name}.test")
    writer.begin()
    values = platform.topics.codec("examples").encode(rows)
    writer.write(Output(platform.topics.tp("examples", 1), [b"user1"] * count, values))
    writer.commit()
    writer.close()
    topic = platform.topics.topic("examples")
    wait_for(lambda: platform.log.bounds(topic)[1][1] > count, 20, "the commit to show")


def trained_on(platform: Platform, seed: int, start: int, stop: int) -> str:
    """Publish a manifest of a model trained on a range of partition 1."""
    ranges = [OffsetRange(partition=1, start=start, stop=stop)]
    manifest = model_package(platform.topics.pipeline, seed).manifest
    update = {"ranges": ranges, "root_hash": read_examples(platform.topics, ranges).root_hash}
    manifest = manifest.model_copy(update={"lineage": manifest.lineage.model_copy(update=update)})
    writer = platform.log.writer(f"{platform.topics.pipeline.name}.test")
    writer.begin()
    writer.write(platform.topics.control("models", [manifest], [manifest.model_id]))
    writer.commit()
    writer.close()
    return manifest.model_id


def test_the_examples_of_live_models_outlive_the_topic(
    unique: Callable[[str], str], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = unique("toy")
    KafkaLog(settings, name).create_topics({toy(name).topic("examples"): (3, {"retention.ms": "3600000"})})
    platform = Platform(name, settings, tmp_path)
    run = Commands(platform, tmp_path / "data", monkeypatch)
    examples(platform, 300)
    one, two = trained_on(platform, 1, 0, 200), trained_on(platform, 2, 50, 100)

    def states(*args: str, code: int = 0) -> dict[str, str]:
        return {row["model"]: row["state"] for row in run("data guard", *args, code=code)}

    assert states("--within", "10m") == {one: "safe", two: "safe"}
    assert states("--within", "2h", "--dry-run") == {one: "due", two: "due"}
    assert not (tmp_path / "data").exists()
    assert states("--within", "2h") == {one: "archived", two: "archived"}
    three = trained_on(platform, 3, 250, 300)
    client = AdminClient({"bootstrap.servers": settings.bootstrap, **client_properties(settings)})
    for future in client.delete_records([KafkaPartition(platform.topics.topic("examples"), 1, 280)]).values():
        future.result()
    assert states("--within", "10m", code=1) == {
        one: "dropped and archived",
        two: "dropped and archived",
        three: "dropped, NOT archived",
    }
    [version] = run("data list")
    assert version["models"] == [one, two]
    found = archived_examples(name, [OffsetRange(partition=1, start=50, stop=100)], tmp_path / "data")
    assert found is not None
    assert [o for c in found.chunks for o in c.offsets.tolist()] == list(range(50, 100))
    assert "the records of 1:250-300 before that were dropped" in run(
        "data snapshot", "examples", "--ranges", "1:250-300", code=2
    )


def test_two_versions_are_compared(platform: Platform, run: Commands) -> None:
    platform.push(clicks(0, 200))
    one = run("data snapshot", "raw")["version"]
    platform.push(clicks(200, 100).with_columns(price=pl.col("price") + 1))
    two = run("data snapshot", "raw")["version"]
    found = run("data diff", one[:8], two[:8])
    assert found["records"] == [400, 600]
    psi = {c["name"]: c["psi"] for c in found["columns"]}
    assert psi["price"] > 0.25
    assert psi["user"] < 0.1
    assert "population stability index" in run("data diff", one, two, as_json=False)
    assert one in run("data list", as_json=False)


def killed(platform: Platform, args: Sequence[str], when: Callable[[], bool], what: str) -> None:
    """Start a command and kill it when something holds, or let it end where that comes first."""
    environment = os.environ | {"TOY_PIPELINE": platform.topics.pipeline.name}
    cmd = [sys.executable, "-m", "headrace", *args, *where(platform.settings)]
    child = subprocess.Popen(cmd, env=environment, stdout=subprocess.DEVNULL)
    wait_for(lambda: when() or child.poll() is not None, 60, what)
    child.send_signal(signal.SIGKILL)
    child.wait()


@pytest.mark.parametrize("written", ["in part", "whole"])
def test_killed_in_the_middle_and_run_again_it_is_the_same_version(
    platform: Platform, run: Commands, tmp_path: Path, written: str
) -> None:
    data, name = tmp_path / "data", platform.topics.pipeline.name
    platform.push(clicks(0, 15_000))

    def files() -> bool:
        return any(written == "in part" or p.parent.name != ".writing" for p in data.rglob("p*.parquet"))

    killed(platform, ["data", "snapshot", REFERENCE, "raw", "--data", str(data)], files, "a file")
    done = run("data snapshot", "raw")
    assert [v.state for v in DataFolder(data).versions(name)] == ["local"]
    assert dvc.noted(dvc.tracked(Path(done["folder"]))) is not None
    assert not (data / name / "raw" / ".writing").exists()
    if written == "in part":
        return
    # And so is its restore.
    topic = f"{platform.topics.topic('raw')}.restored-{done['version']}"

    def records() -> bool:
        return topic in topics_there(platform) and any(platform.log.high_watermarks(topic).values())

    killed(platform, ["data", "restore", REFERENCE, "raw", done["version"], "--data", str(data)], records, "a record")
    restored = run("data restore", "raw", done["version"])
    assert (restored["topic"], restored["forest_root"]) == (topic, done["forest_root"])
    assert records_of(platform, topic) == records_of(platform, platform.topics.topic("raw"))
