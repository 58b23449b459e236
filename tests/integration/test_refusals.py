"""What Kafka refuses is told with the name of what was asked for, each property and its value, and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from headrace import cli
from headrace.config import Settings
from headrace.errors import ConfigError
from headrace.kafka.acl import Rule
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import TopicPartition
from headrace.testing import pipelines
from headrace.topics.table import TOPICS
from tests.waiting import wait_for

pytestmark = pytest.mark.kafka
Asked = Callable[[KafkaLog, str], object]
FACTOR = "set replication_factor (HEADRACE_REPLICATION_FACTOR, or headrace.toml) to at most the number of brokers"
TAKES = "the brokers do not take one of these properties"


@pytest.mark.parametrize(
    ("replication", "asked", "what", "mend"),
    [
        (
            3,
            lambda log, name: log.create_topics({name: (2, {"cleanup.policy": "compact"})}),
            "topic {} with partitions = 2, replication_factor = 3, cleanup.policy = compact: ",
            FACTOR,
        ),
        (
            1,
            lambda log, name: log.create_topics({name: (1, {"cleanup.policy": "sometimes"})}),
            "topic {} with partitions = 1, replication_factor = 1, cleanup.policy = sometimes: ",
            TAKES,
        ),
        (
            1,
            lambda log, name: log.create_topics({f"{name} x": (1, {})}),
            "topic {} x with partitions = 1, replication_factor = 1: ",
            "give the pipeline a name that Kafka takes: at most 200 letters, digits, '.', '_', '-'",
        ),
        (
            1,
            lambda log, name: [log.create_topics({name: (2, {})}), log.add_partitions(name, 1)],
            "partitions = 1 of topic {}: ",
            "see `partitions` of the pipeline; Kafka adds partitions and takes none away",
        ),
        (
            1,
            lambda log, name: [log.create_topics({name: (1, {})}), log.keep_for(name, timedelta(milliseconds=-7))],
            "retention.ms = -7 of topic {}: ",
            TAKES,
        ),
    ],
)
def test_a_refusal_names_what_was_asked_for_and_what_to_do(
    settings: Settings, unique: Callable[[str], str], replication: int, asked: Asked, what: str, mend: str
) -> None:
    log, name = KafkaLog(settings.model_copy(update={"replication_factor": replication}), "test"), unique("t")
    expected = f"^Kafka refused {re.escape(what.format(name))}.+; {re.escape(mend)}$"
    with pytest.raises(ConfigError, match=expected):
        asked(log, name)


def test_a_value_that_the_client_itself_refuses_is_named_too(settings: Settings, unique: Callable[[str], str]) -> None:
    log, name = KafkaLog(settings.model_copy(update={"replication_factor": -7}), "test"), unique("t")
    said = rf"^1 topics with replication_factor = -7 cannot be asked for: .*{name}.*replication_factor out of expected"
    with pytest.raises(ConfigError, match=said):
        log.create_topics({name: (1, {})})


def test_an_access_rule_that_is_refused_is_named(settings: Settings, unique: Callable[[str], str]) -> None:
    if "security.protocol" in settings.kafka:
        pytest.skip("this cluster takes ACLs")
    said = (
        r"^Kafka refused the ACL 'User:join may write transactional id shop\.join\.\*': .+; this cluster has no ACLs: "
        r"run `headrace init PIPELINE --no-acls`$"
    )
    with pytest.raises(ConfigError, match=said):
        KafkaLog(settings, "test").grant([Rule("join", "transactional_id", "shop.join.", True, "write")])


Init = Callable[..., tuple[str, BaseException | None]]


@pytest.fixture
def init(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Init:
    """Gives what `headrace init` prints for the toy of a name, and the error it ends with."""

    def run(name: str, **environment: str) -> tuple[str, BaseException | None]:
        monkeypatch.setattr(pipelines, "pipeline", pipelines.toy(name))
        line = ["init", pipelines.REFERENCE, "--kafka", settings.bootstrap, "--registry", settings.registry_url]
        done = CliRunner().invoke(cli.app, line, env={"HEADRACE_KAFKA": json.dumps(settings.kafka), **environment})
        return done.stdout, done.exception

    return run


def test_init_with_more_replicas_than_brokers_names_topic_and_setting(init: Init, unique: Callable[[str], str]) -> None:
    name = unique("toy")
    _, error = init(name, HEADRACE_REPLICATION_FACTOR="3")
    assert isinstance(error, ConfigError)
    assert str(error).startswith(f"Kafka refused topic {name}.raw with partitions = 3, replication_factor = 3, ")
    assert str(error).endswith(FACTOR)


def test_init_adds_the_partitions_that_raw_was_given_to_every_keyed_topic(
    init: Init, settings: Settings, unique: Callable[[str], str]
) -> None:
    name, log = unique("toy"), KafkaLog(settings, "test")
    assert init(name)[1] is None
    log.add_partitions(f"{name}.raw", 5)
    writer = log.writer(unique("w"))
    with pytest.raises(ConfigError, match=rf"^Kafka has no partition {re.escape(name)}\.features\[4\]: run `headrace"):
        writer._check(TopicPartition(f"{name}.features", 4))  # type: ignore[attr-defined]
    said, error = init(name)
    assert error is None
    keyed = [f"{name}.{t.name}" for t in TOPICS.values() if t.keyed and t.name != "raw"]
    lines = said.splitlines()
    told = [line for line in lines if " partitions and now has " in line]
    assert told == [f"{t} had 3 partitions and now has 5, as many as the keyed topic that has most" for t in keyed]
    assert [line for line in lines if "declares" in line] == [
        f"{name}.raw has 5 partitions and the pipeline declares 3: 5 are used, for Kafka takes none away. "
        "Declare partitions=5"
    ]
    assert {t: log.partitions(t) for t in keyed} == dict.fromkeys(keyed, 5)
    wait_for(lambda: writer._check(TopicPartition(f"{name}.features", 4)) is None, 10, "the writer to see it")  # type: ignore[attr-defined]
    writer.close()
