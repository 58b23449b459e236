"""The log in each of its forms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from headrace.config import Settings
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Log
from headrace.kafka.memory import MemoryLog
from tests.contract.members import TRANSPORTS, Join, Member, kafka_log


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Log:
    if request.param == "memory":
        return MemoryLog()
    return kafka_log(request.getfixturevalue("settings"), request.param)


@pytest.fixture(params=TRANSPORTS)
def kafka(request: pytest.FixtureRequest, settings: Settings) -> KafkaLog:
    return kafka_log(settings, request.param)


@pytest.fixture
def join(log: Log) -> Iterator[Join]:
    """Make group members that leave at the end of the test."""
    members: list[Member] = []

    def joined(group: str, topics: Sequence[str], name: str) -> Member:
        members.append(Member(log, group, topics, name))
        return members[-1]

    yield joined
    for member in members:
        member.before_revoked = lambda: None
        member.reader.close()
