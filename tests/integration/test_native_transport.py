"""What the native transport does with memory that is not its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from headrace.config import Settings
from headrace.kafka.cluster import KafkaLog
from headrace.kafka.log import Output, TopicPartition
from headrace.kafka.native.choice import native
from tests.conftest import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.skipif(isinstance(native(), str), reason=str(native()))]


def test_every_message_is_given_back_once_however_reading_ends(
    settings: Settings, unique: Callable[[str], str]
) -> None:
    log, topic = KafkaLog(settings, "test"), unique("t")
    log.create_topics({topic: (2, {})})
    writer = log.writer(unique("w"), tracks=False)
    for partition in range(2):
        writer.begin()
        values = [None if i % 9 == 0 else bytes(i % 700) for i in range(3_000)]
        writer.write(Output(TopicPartition(topic, partition), [b"%d" % i for i in range(3_000)], values))
        writer.commit()
    args = {"bootstrap": settings.bootstrap, "kafka": settings.kafka, "topic": topic, "group": unique("g")}
    run = [sys.executable, "-m", "tests.integration.native_messages", json.dumps(args)]
    child = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert child.returncode == 0, child.stderr
    said = json.loads(child.stdout)
    assert said["whole"] == 6_000
    assert said["handed_out"] > 6_000 + 400  # and a part, and what the members read
    assert said["given_back"] == said["handed_out"]
    assert (said["held"], said["unknown"]) == (0, 0)
