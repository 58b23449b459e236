"""Models that would harm a worker or mislead it: each is rejected with its reason, and the policy in force goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.config import Settings
from headrace.errors import ModelRejected
from headrace.governance.catalog import governance, published
from headrace.keys import new_key
from headrace.models.library import load
from headrace.models.package.package import Package, cut
from headrace.models.package.signing import Trust, sign
from headrace.schema.records import GateResult, ModelChunk, WorkerStatus
from headrace.testing.models import model_package
from headrace.testing.pipelines import clicks
from headrace.topics.control import write_control
from tests.disk import Disk, may_mount
from tests.hostile_models import Keys, hostile_models
from tests.integration.platform import Platform
from tests.waiting import wait_for


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    names = ("trusted", "stranger", "revoked")
    return Keys(*(new_key(tmp_path / "keys", name)[0] for name in names))


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path, keys: Keys) -> Platform:
    public = {name: getattr(keys, name).with_suffix(".pub") for name in Keys._fields}
    update = {
        "unsigned_models": "refuse",
        "trusted_keys": [public["trusted"], public["revoked"]],
        "revoked_keys": [public["revoked"]],
    }
    return Platform(unique("toy"), settings.model_copy(update=update), tmp_path)


def put(platform: Platform, package: Package, chunks: list[ModelChunk]) -> None:
    """Write chunks and manifest to their topics as they are."""
    at = platform.log.high_watermarks(platform.topics.topic("model_chunks"))[0]
    manifest = package.manifest.model_copy(update={"chunks_from": at})
    write_control(platform.topics, "model_chunks", chunks, [f"{c.model_id}/{c.index}" for c in chunks])
    write_control(platform.topics, "models", [manifest], [manifest.model_id])


def approve(platform: Platform, model_id: str) -> None:
    """Approve a model whose gates have passed."""
    passed = GateResult(model_id=model_id, gate="quality", passed=True, mode="block", summary="", evidence="{}")
    write_control(platform.topics, "decisions", [passed], [model_id])
    platform.approve(model_id)


def why_not(platform: Platform, model_id: str) -> str:
    """What a worker says of a model on the log, where the gates refused it before any worker was asked."""
    manifest, offset = published(platform.topics)[model_id]
    with pytest.raises(ModelRejected) as refused:
        load(platform.topics, platform.log, manifest, offset, Trust.of(platform.settings))
    return str(refused.value)


def test_hostile_models_are_rejected_with_their_reason_and_the_good_one_goes_on(platform: Platform, keys: Keys) -> None:
    good = sign(model_package(platform.topics.pipeline, 1), keys.trusted)
    champion = good.manifest.model_id
    hostile = {h.package.manifest.model_id: h for h in hostile_models(platform.topics.pipeline, keys)}
    assert len(hostile) == 24

    with platform.running("preprocess-0", "infer-0", "govern-0"):
        put(platform, good, cut(good.onnx))
        approve(platform, champion)
        platform.wait_ruling(champion)
        platform.wait_loaded(champion)
        for model in hostile.values():
            put(platform, model.package, model.chunks)
            approve(platform, model.package.manifest.model_id)
        wait_for(lambda: len(governance(platform.topics).refused) == len(hostile), 240, "every order to be refused")
        platform.push(clicks(0, 60, labelled=False))
        platform.wait_rows("predictions", 60)
    state = governance(platform.topics)
    found = (r for _, r in platform.topics.read_control("workers") if isinstance(r, WorkerStatus))
    said = {r.model_id: r.reason for r in found if r.state == "REJECTED"}
    told = {h.name: (said.get(m) or why_not(platform, m), h.reason) for m, h in hostile.items()}
    assert {name: both for name, both in told.items() if both[1] not in both[0]} == {}
    assert hostile.keys() - said.keys() <= state.rejected.keys(), "no worker was asked, and no gate refused"
    assert {a.model_id for a in state.activations.values()} == {champion}
    assert set(platform.rows("predictions")["model_id"]) == {champion}


def test_a_manifest_of_the_champions_id_over_other_bytes_does_not_take_it_away(platform: Platform, keys: Keys) -> None:
    good = sign(model_package(platform.topics.pipeline, 1), keys.trusted)
    champion = good.manifest.model_id
    other = model_package(platform.topics.pipeline, 2)
    chunks = [c.model_copy(update={"model_id": champion}) for c in cut(other.onnx)]
    claim = {"model_id": champion, "chunks": other.manifest.chunks, "size": len(other.onnx)}
    bad = sign(Package(good.manifest.model_copy(update={**claim, "signature": None}), other.onnx), keys.trusted)
    with platform.running("preprocess-0", "infer-0", "govern-0"):
        put(platform, good, cut(good.onnx))
        approve(platform, champion)
        platform.wait_ruling(champion)
        put(platform, bad, chunks)
        platform.push(clicks(0, 30, labelled=False))
        platform.wait_rows("predictions", 30)
    with platform.running("preprocess-0", "infer-1"):  # a worker that finds both when it starts
        platform.push(clicks(30, 30, labelled=False))
        rows = platform.wait_rows("predictions", 60)
    assert set(rows["model_id"]) == {champion}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small file system of its own."""
    made = Disk(tmp_path / "disk", 16)
    yield made
    made.close()


@pytest.mark.skipif(not may_mount(), reason="no file system may be mounted here")
def test_a_full_disk_rejects_no_model_and_costs_no_record(
    platform: Platform, keys: Keys, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (sign(model_package(platform.topics.pipeline, seed), keys.trusted) for seed in (1, 2))
    monkeypatch.setenv("TMPDIR", str(disk.folder))
    with platform.running("preprocess-0", "infer-0"):
        with platform.running("govern-0"):
            put(platform, first, cut(first.onnx))
            approve(platform, first.manifest.model_id)
            platform.wait_ruling(first.manifest.model_id)
        # A model may rule before a worker that is starting has tried it, and a trial that ends makes room on the disk.
        platform.wait_loaded(first.manifest.model_id)
        disk.fill()
        put(platform, second, cut(second.onnx))
        approve(platform, second.manifest.model_id)
        wait_for(lambda: "No space left" in platform.said("infer-0"), 60, "the worker to say why it waits")
        platform.push(clicks(0, 30, labelled=False))
        assert set(platform.wait_rows("predictions", 30)["model_id"]) == {first.manifest.model_id}
        disk.free()
        with platform.running("govern-0"):
            platform.wait_ruling(second.manifest.model_id)
        platform.push(clicks(30, 30, labelled=False))
        rows = platform.wait_rows("predictions", 60)
    assert set(rows["model_id"]) == {first.manifest.model_id, second.manifest.model_id}
    assert "REJECTED" not in {state for state, _ in platform.statuses()}
    assert platform.rows("dead").is_empty()
