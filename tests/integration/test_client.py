"""The front door on a real Kafka: events from many threads, the model in force, decisions on what was shown."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import headrace as hr
from headrace.config import Settings
from headrace.errors import ConfigError, SchemaError, Unavailable, UnknownPipeline
from headrace.testing.models import model_package
from headrace.testing.pipelines import BEGIN
from tests.integration.platform import Platform
from tests.waiting import wait_for

ROW = np.array([[0.5, 1.0]], dtype=np.float32)


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("shop"), settings, tmp_path)


@pytest.fixture
def client(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[hr.Client]:
    monkeypatch.setenv("HEADRACE_UNSIGNED_MODELS", "accept")
    s = platform.settings
    with hr.connect(
        platform.topics.pipeline, kafka=s.bootstrap, registry=s.registry_url, state=s.state, properties=s.kafka
    ) as connected:
        yield connected


def test_an_event_that_does_not_fit_is_refused_by_field_and_nothing_is_sent(client: hr.Client) -> None:
    click = {"kind": "seen", "click_id": "c", "user": None, "at": BEGIN, "price": 1.0, "bought": None}
    with pytest.raises(SchemaError, match="event refused: field user is missing"):
        client.events.send(click)
    client.events.flush()
    assert len(client.query.dead().letters) == 0


def test_a_model_is_approved_on_the_evidence_shown_and_followed(platform: Platform, client: hr.Client) -> None:
    model_id = model_package(platform.topics.pipeline, 7).manifest.model_id
    platform.pass_gates(model_id)
    platform.publish(7)
    shown = client.models[model_id[:10]]
    assert shown.evidence is not None
    assert (shown.view.state, shown.view.gates) == ("waits for approval", {"quality": True})
    assert list(client.models) == [model_id]
    platform.pass_gates(model_id, gate="parity")
    with pytest.raises(ConfigError, match="now has other gate results than were shown"):
        client.approve(model_id, evidence=shown.evidence.hash)
    fresh = client.models[model_id].evidence
    assert fresh is not None
    with platform.running("govern-0"), client.follow("checkout") as model:
        with pytest.raises(Unavailable, match="no model is in force yet"):
            model.score({"price": 0.5, "seen_10m": 1})
        client.approve(model_id, evidence=fresh.hash, by="ann")
        assert model.wait(40).policy.champion == model_id
        one = model.score({"price": 0.5, "seen_10m": 1})
        assert one.probability == float(client.models.load(model_id).score(ROW)[0, 0])
        assert one.model_ids == [model_id]
    assert client.models.champion is not None
    assert client.models.champion.view.id == model_id
    assert [d.kind for d in client.decisions()] == ["gate", "gate", "approved", "activated"]
    with pytest.raises(KeyError, match="no published model starts with 'zz'"):
        client.models["zz"]


def test_a_model_is_not_taken_away_in_the_middle_of_a_call(platform: Platform, client: hr.Client) -> None:
    """Many threads score through swaps; each answer is that of the model it names."""
    ids = [model_package(platform.topics.pipeline, seed).manifest.model_id for seed in (1, 2)]
    wrong: list[str] = []
    stop = threading.Event()
    with platform.running("govern-0"), client.follow("checkout") as model:
        platform.activate(1)
        platform.wait_ruling(ids[0])
        model.wait(40)
        right = {m: float(client.models.load(m).score(ROW)[0, 0]) for m in ids[:1]}
        answers: Counter[str] = Counter()

        def rules(model_id: str) -> bool:
            return model.in_force is not None and model.in_force.policy.champion == model_id

        def score() -> None:
            while not stop.is_set():
                try:
                    found = model.score({"price": 0.5, "seen_10m": 1})
                except Exception as e:  # noqa: BLE001 - whatever it is, it is wrong
                    wrong.append(repr(e))
                    return
                answers[f"{found.model_ids[0]} {found.probability!r}"] += 1

        threads = [threading.Thread(target=score) for _ in range(8)]
        for thread in threads:
            thread.start()
        platform.activate(2)
        right[ids[1]] = float(client.models.load(ids[1]).score(ROW)[0, 0])
        for swap in range(4):
            wanted = ids[(swap + 1) % 2]
            platform.wait_ruling(wanted)
            wait_for(partial(rules, wanted), 40, "the swap")
            client.rollback("on with the test")
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert set(answers) == {f"{m} {p!r}" for m, p in right.items()}


def test_nobody_to_connect_to_is_told_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no Kafka is named and no stack runs in .*: start one with `headrace up`"):
        hr.connect("shop")
    with pytest.raises(UnknownPipeline, match="no pipeline named 'shop'"):
        hr.connect("shop", kafka="127.0.0.1:1", registry="http://127.0.0.1:1")


def test_a_kafka_that_does_not_answer_is_told(platform: Platform) -> None:
    registry = platform.settings.registry_url
    with (
        hr.connect(platform.topics.pipeline, kafka="127.0.0.1:1", registry=registry) as client,
        pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"),
    ):
        client.query.models()
