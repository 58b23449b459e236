"""Properties that headrace sets itself are refused with their name and value; none is dropped in silence."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from headrace import cli
from headrace.config import Settings
from headrace.errors import ConfigError
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.fixed import FIXED
from headrace.kafka.reader import CONSUMER
from headrace.kafka.writer import PRODUCER

NAMES = [name for fixed in FIXED for name in fixed.names]
REFUSED = {
    "group.protocol": "consumer",
    "isolation.level": "read_uncommitted",
    "enable.auto.commit": "true",
    "auto.commit.enable": "true",
    "enable.auto.offset.store": "true",
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "enable.partition.eof": "true",
    "enable.idempotence": "false",
    "acks": "1",
    "request.required.acks": "0",
    "delivery.report.only.error": "true",
    "transactional.id": "mine",
    "group.id": "mine",
    "group.instance.id": "mine",
    "client.id": "mine",
    "bootstrap.servers": "elsewhere:9092",
    "metadata.broker.list": "elsewhere:9092",
}


def log_with(name: str, value: str) -> KafkaLog:
    return KafkaLog(Settings(bootstrap="127.0.0.1:1", kafka={name: value}))


@pytest.mark.parametrize("name", NAMES)
def test_another_value_than_headraces_is_refused_by_name(name: str) -> None:
    said = rf"^headrace does not support {re.escape(name)}={REFUSED[name]}: .+\. Leave it out of -X, HEADRACE_KAFKA"
    with pytest.raises(ConfigError, match=said):
        log_with(name, REFUSED[name])


@pytest.mark.parametrize(("name", "value"), [(f.names[0], v) for f in FIXED for v in f.values])
def test_the_value_that_holds_anyway_is_taken(name: str, value: str) -> None:
    log_with(name, value.upper() if value == "true" else value).reader({}).close()


def test_what_the_clients_set_for_exactly_once_is_in_the_table() -> None:
    tunable = {
        "fetch.queue.backoff.ms",
        "fetch.wait.max.ms",
        "queued.min.messages",
        "queued.max.messages.kbytes",
        "max.partition.fetch.bytes",
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "max.poll.interval.ms",
        "linger.ms",
        "batch.size",
        "batch.num.messages",
        "queue.buffering.max.kbytes",
        "message.max.bytes",
        "partitioner",
        "transaction.timeout.ms",
    }
    assert {*CONSUMER, *PRODUCER} - set(NAMES) == tunable


@pytest.mark.parametrize("line", ["run infer shop.py:shop", "run all shop.py:shop", "init shop.py:shop"])
def test_a_command_refuses_it_before_it_connects(line: str) -> None:
    done = CliRunner().invoke(cli.app, [*line.split(), "-X", "group.protocol=consumer"])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith("headrace does not support group.protocol=consumer: ")
