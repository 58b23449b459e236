"""Models on their two topics of a real Kafka, and an installation from before there were two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.cli import app
from headrace.config import Settings
from headrace.errors import SchemaError
from headrace.governance.catalog import published
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Output, read_all
from headrace.models.package import package as packages
from headrace.models.package.package import Package, cut
from headrace.models.package.topic import fetch, publication
from headrace.query.audit.audit import audit
from headrace.schema.records import Record
from headrace.schema.registry import ConfluentRegistry
from headrace.testing.models import model_package
from headrace.testing.pipelines import REFERENCE, clicks, toy
from headrace.topics.pipeline_topics import PipelineTopics
from tests.earlier_models import earlier_installation, earlier_publication
from tests.integration.platform import Platform
from tests.waiting import wait_for


@pytest.fixture
def topics(unique: Callable[[str], str], settings: Settings) -> PipelineTopics:
    """A pipeline whose topics are yet to be made."""
    name = unique("toy")
    return PipelineTopics(toy(name), KafkaLog(settings, name), ConfluentRegistry(settings))


def write(topics: PipelineTopics, *outputs: Output, commit: bool = True) -> None:
    writer = topics.log.writer(f"{topics.pipeline.name}.test")
    writer.begin()
    writer.write_and_wait(outputs)
    if commit:
        writer.commit()
    else:
        writer.abort()
    writer.close()


def keys(topics: PipelineTopics, name: str) -> list[str]:
    chunks = read_all(topics.log, topics.topic(name), settled=True)
    return [(key or b"").decode() for chunk in chunks for key in chunk.keys]


def test_a_model_is_on_both_topics_or_on_neither_and_is_read_alone(
    topics: PipelineTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "CHUNK_BYTES", 400)
    topics.init()
    made = [model_package(topics.pipeline, seed) for seed in range(4)]
    cuts = [cut(package.onnx) for package in made]
    made = [
        Package(p.manifest.model_copy(update={"chunks": [c.digest for c in chunks]}), p.onnx)
        for p, chunks in zip(made, cuts, strict=True)
    ]
    write(topics, *publication(topics, made[0]), commit=False)
    assert (keys(topics, "models"), keys(topics, "model_chunks")) == ([], [])
    for package in made[1:]:
        write(topics, *publication(topics, package))
    ids = [package.manifest.model_id for package in made]
    assert keys(topics, "models") == ids[1:]
    assert keys(topics, "model_chunks") == [
        f"{m}/{c.index}" for m, chunks in zip(ids[1:], cuts[1:], strict=True) for c in chunks
    ]
    decoded: list[bytes | None] = []
    codec = topics.codec("model_chunks")
    plain = codec.decode_controls

    def noting(values: Sequence[bytes | None]) -> Iterator[Record | SchemaError]:
        decoded.extend(values)
        return plain(values)

    monkeypatch.setattr(codec, "decode_controls", noting)
    models = published(topics, settled=True)
    assert list(models) == ids[1:]
    assert fetch(topics, topics.log, *models[ids[2]]).onnx == made[2].onnx
    assert decoded == [codec.encode_control(c) for c in cuts[2]]


def test_an_installation_of_an_earlier_version_is_carried_over(
    topics: PipelineTopics, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.testing.pipelines.pipeline", topics.pipeline)
    earlier_installation(topics)
    old = [model_package(topics.pipeline, seed) for seed in (1, 2)]
    ids = [package.manifest.model_id for package in old]
    for package in old:
        write(topics, earlier_publication(topics, package))
    assert [fetch(topics, topics.log, *found).onnx for found in published(topics).values()] == [p.onnx for p in old]

    assert topics.init() == [topics.topic("model_chunks")]
    platform = Platform(topics.pipeline.name, settings, tmp_path)
    for model_id in ids:
        platform.pass_gates(model_id)
    with platform.running("preprocess-0", "infer-0", "join-0", "govern-0"):
        platform.approve(ids[0])
        platform.wait_ruling(ids[0])
        platform.push(clicks(0, 40))
        platform.wait_rows("predictions", 40)
        there = ["--kafka", settings.bootstrap, "--registry", settings.registry_url, "--state", str(settings.state)]
        moved = CliRunner().invoke(app, ["models", "move", REFERENCE, *there])
        assert (moved.exit_code, moved.stdout) == (0, f"2 models moved to {topics.topic('model_chunks')}\n")
        platform.approve(ids[1])
        platform.wait_ruling(ids[1])
        platform.push(clicks(40, 40))
        platform.wait_rows("predictions", 80)
        new = platform.activate(3)
        platform.wait_ruling(new)
        platform.push(clicks(80, 40))
        platform.wait_rows("predictions", 120)
        wait_for(lambda: platform.rows("outcomes").height == 120, 60, "every outcome")
    assert set(platform.rows("predictions")["model_id"]) == {*ids, new}
    with platform.running("preprocess-0", "infer-1"):  # a worker that starts after the move
        platform.push(clicks(120, 40))
        platform.wait_rows("predictions", 160)
    assert platform.rows("dead").is_empty()
    assert [p.manifest.chunks_from is None for p in published(topics).values()] == [False] * 3
    report = audit(topics)
    assert (report.violations, report.lines["manifest", "models"].checked) == ([], 3)
