"""A Kafka that asks who speaks: everything works with each processor's own rights, and with no other's."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from confluent_kafka.admin._acl import AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

import headrace as hr
from headrace.config import ADMIN, Settings
from headrace.embedded.kafka import Layout
from headrace.embedded.stack import Stack
from headrace.errors import ConfigError, HeadraceError, Unavailable
from headrace.governance.catalog import published
from headrace.governance.decisions import order_training
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Output
from headrace.query.audit.audit import audit
from headrace.runner.processors import PRINCIPALS, PROCESSORS
from headrace.runner.recompute import recompute
from headrace.testing.pipelines import clicks
from headrace.topics.acls import rules
from tests.integration.platform import Platform
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("secure") / "state", layout=Layout(principals=PRINCIPALS, quick=True)) as stack:
        yield stack


def settings_of(stack: Stack, principal: str) -> Settings:
    return Settings(
        bootstrap=stack.bootstrap,
        registry_url=stack.registry_url,
        state=stack.state,
        kafka={"session.timeout.ms": "6000", **stack.credentials(principal)},
        unsigned_models="accept",
    )


@pytest.fixture
def platform(secured: Stack, tmp_path: Path) -> Platform:
    """A pipeline whose topics are there and whose rights are set."""
    return Platform(f"toy-{uuid.uuid4().hex[:8]}", settings_of(secured, ADMIN), tmp_path)


def test_a_pipeline_works_with_each_processors_own_rights(
    secured: Stack, platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = [f"{name}-0" for name in PROCESSORS]
    producer = KafkaLog(settings_of(secured, "producer"), "producer").sender("producer")
    rows = clicks(0, 400)
    topics = platform.topics
    monkeypatch.setenv("HEADRACE_SEARCH__URL", "http://127.0.0.1:9")  # forward waits for an engine, with its own rights
    with platform.running(*workers) as running:
        producer.send(topics.topic("raw"), [u.encode() for u in rows["user"]], topics.codec("raw").encode(rows))
        producer.send(topics.topic("raw"), [b"user0"], [b"\x01nonsense"])
        producer.flush()
        first = platform.activate(1)
        platform.wait_ruling(first)
        platform.wait_rows("outcomes", 400)
        order_training(topics, "test", "with rights of its own")
        wait_for(lambda: len(published(topics)) == 2, 120, "retrain to publish a model")
        assert {name: child.poll() for name, child in running.items()} == dict.fromkeys(workers)
    answers = platform.rows("predictions").filter(pl.col("route") != "shadow")
    assert sorted(answers.select("partition", "offset").rows()) == sorted(
        platform.rows("features").select("p", "o").rows()
    )
    assert platform.rows("dead").height == 1
    assert audit(topics, recompute).violations == []
    passwords = [secured.credentials(p)["sasl.password"] for p in PRINCIPALS]
    said = [f for f in [*tmp_path.glob("*.log"), *(secured.state / "logs").glob("*")] if f.is_file()]
    assert len(said) > len(workers)
    assert [(f.name, p) for f in said for p in passwords if p in f.read_text(errors="replace")] == []


@pytest.mark.parametrize(("worker", "other"), [("infer-0", "join"), ("preprocess-0", "monitor"), ("govern-0", "infer")])
def test_a_processor_with_anothers_credentials_is_refused(
    secured: Stack, platform: Platform, worker: str, other: str
) -> None:
    theirs = secured.credentials(other)
    process = platform.start(worker, properties=[f"{name}={value}" for name, value in theirs.items()])
    assert process.wait(60) not in (0, -9)
    said = platform.said(worker)
    assert "authorization failed" in said
    assert "Traceback" not in said
    assert theirs["sasl.password"] not in said


def test_a_producer_may_push_and_nothing_else(secured: Stack, platform: Platform) -> None:
    log, topics = KafkaLog(settings_of(secured, "producer"), "producer"), platform.topics
    sender = log.sender("producer")
    sender.send(topics.topic("decisions"), [b"k"], [b"an approval"])
    with pytest.raises(Unavailable, match="Topic authorization failed"):
        sender.flush()
    with pytest.raises(ConfigError, match="Topic authorization failed"):
        log.bounds(topics.topic("predictions"))
    with pytest.raises(HeadraceError, match="uthorization failed"):
        log.writer(f"{topics.pipeline.name}.govern.x").begin()
    sender = KafkaLog(settings_of(secured, "infer"), "infer").sender("x")
    sender.send(topics.topic("features"), [b"k"], [b"a forged marker"])
    with pytest.raises(Unavailable, match="Topic authorization failed"):
        sender.flush()
    writer = KafkaLog(settings_of(secured, "infer"), "infer").writer(f"{topics.pipeline.name}.infer.x")
    writer.begin()
    writer.write(Output(topics.tp("predictions"), [b"k"], [b"its own"]))
    writer.abort()
    writer.close()


def test_a_right_that_is_missing_ends_a_transaction_with_one_line_and_is_not_tried_again(
    secured: Stack, platform: Platform
) -> None:
    topics = platform.topics
    writer = KafkaLog(settings_of(secured, "infer"), "infer").writer(f"{topics.pipeline.name}.infer.x")
    writer.begin()
    writer.write(Output(topics.tp("features"), [b"k"], [b"a forged marker"]))
    with pytest.raises(ConfigError, match=r"uthorization failed.*no right to it"):
        writer.commit()
    writer.abort()
    writer.close()


def test_a_right_that_is_taken_stops_a_worker_and_given_back_it_goes_on(platform: Platform) -> None:
    """Nothing is lost, doubled or dead-lettered for a right that was away for a while."""
    topic = platform.topics.topic("features")
    right = [
        r
        for r in rules(platform.topics.pipeline, PROCESSORS.values())
        if (r.principal, r.name) == ("preprocess", topic)
    ]
    with platform.running("preprocess-0") as children:
        platform.push(clicks(0, 50))
        platform.wait_rows("features", 50)
        revoke(platform.log, "preprocess", topic)
        platform.push(clicks(50, 50))
        assert wait_for(lambda: children["preprocess-0"].poll(), 60, "it stops") == 2
    said = platform.said("preprocess-0")
    assert topic in said.splitlines()[-1]
    platform.log.grant(right)
    with platform.running("preprocess-1"):
        rows = platform.wait_rows("features", 100)
    assert sorted(rows["id"]) == sorted(f"c{i}" for i in range(100))
    assert platform.rows("dead").height == 0


def revoke(log: KafkaLog, principal: str, topic: str) -> None:
    """Take all rights to a topic away, and wait until the broker no longer tells of them."""
    every = AclBindingFilter(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        f"User:{principal}",
        "*",
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    [deleted] = log._admin.delete_acls([every]).values()
    assert deleted.result(20)
    wait_for(lambda: not log._admin.describe_acls(every).result(20), 20, "the rights are taken away")


def test_the_front_door_has_the_least_rights_in_each_room(
    secured: Stack, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_UNSIGNED_MODELS", "accept")
    pipeline = platform.topics.pipeline
    with hr.connect(pipeline, state=secured.state) as client:
        client.events.send(clicks(0, 1).row(0, named=True))
        client.events.flush()
        assert (client.query.models(), client.decisions(), client.query.dead().letters) == ([], [], {})
        with client.follow("checkout") as model:
            assert model.in_force is None
    assert platform.rows("raw").height == 1
    with (
        hr.connect(pipeline, state=secured.state, as_="producer") as client,
        pytest.raises(ConfigError, match="Topic authorization failed"),
    ):
        client.query.models()
    with hr.connect(pipeline, state=secured.state, as_="infer") as client:
        client.events.send(clicks(0, 1).row(0, named=True))
        with pytest.raises(Unavailable, match="Topic authorization failed"):
            client.events.flush()


def test_without_the_password_nobody_gets_in_and_no_message_tells_it(secured: Stack) -> None:
    own = secured.credentials(ADMIN)
    wrong = settings_of(secured, ADMIN).model_copy(update={"kafka": {**own, "sasl.password": "a-guess-4711"}})
    with pytest.raises(HeadraceError) as refused:
        KafkaLog(wrong, "guest").partitions("any")
    assert "a-guess-4711" not in str(refused.value)
    plain = Settings(bootstrap=secured.bootstrap, registry_url=secured.registry_url)
    with pytest.raises(HeadraceError):
        KafkaLog(plain, "guest").partitions("any")


def test_secrets_are_for_nobody_else_and_shown_nowhere(secured: Stack) -> None:
    secure = secured.state / "secure"
    assert stat.S_IMODE(secure.stat().st_mode) == 0o700
    secret = [f for f in secure.rglob("*") if f.is_file() and f.name != "ready"]
    secret.append(secured.state / "kafka" / "server.properties")
    assert {stat.S_IMODE(f.stat().st_mode) for f in secret} == {0o600}
    password = secured.credentials(ADMIN)["sasl.password"]
    assert password not in (secured.state / "stack.json").read_text()
    cmd = [sys.executable, "-m", "headrace", "status", "--json", "--state", str(secured.state)]
    shown = subprocess.run(cmd, capture_output=True, text=True, timeout=60, check=True, env=os.environ).stdout
    assert json.loads(shown)["secure"] is True
    assert password not in shown
