"""Keyed topics have equally many partitions: what `init` adds, what it says, and where a worker does not start."""

from __future__ import annotations

import pytest

from headrace.errors import ConfigError
from headrace.kafka.memory import MemoryLog
from headrace.testing.memory import in_memory
from headrace.testing.pipelines import toy
from headrace.topics.partitions import add_missing_partitions, check_partitions, keyed_partitions, uneven
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS

KEYED = {t.name for t in TOPICS.values() if t.keyed}
PREPROCESS = ("raw", "features", "labels", "dead")


def topics_with(changed: dict[str, int], partitions: int = 2) -> PipelineTopics:
    """The toy's topics, some of which were given more partitions."""
    topics = in_memory(toy("toy", partitions))
    for name, count in changed.items():
        topics.log.add_partitions(topics.topic(name), count)
    return topics


def test_partitions_added_to_raw_are_added_to_every_keyed_topic_and_to_no_other() -> None:
    topics = topics_with({"raw": 4})
    others = KEYED - {"raw"}
    assert add_missing_partitions(topics.log, topics.pipeline) == {f"toy.{name}": (2, 4) for name in others}
    assert keyed_partitions(topics.log, topics.pipeline) == dict.fromkeys(KEYED, 4)
    assert {topics.log.partitions(topics.topic(t)) for t in TOPICS if t not in KEYED} == {1}
    assert add_missing_partitions(topics.log, topics.pipeline) == {}
    assert uneven(topics.log, topics.pipeline) == [
        "toy.raw has 4 partitions and the pipeline declares 2: 4 are used, for Kafka takes none away. "
        "Declare partitions=4"
    ]


def test_a_raw_topic_that_was_there_first_says_how_many_the_others_get() -> None:
    log = MemoryLog()
    log.create_topics({"toy.raw": (5, {})})
    topics = in_memory(toy("toy", 2), log)
    add_missing_partitions(log, topics.pipeline)
    assert keyed_partitions(log, topics.pipeline) == dict.fromkeys(KEYED, 5)


def test_a_keyed_topic_with_more_than_the_others_is_caught_up_with_and_raw_is_left_alone() -> None:
    topics = topics_with({"labels": 3})
    add_missing_partitions(topics.log, topics.pipeline)
    assert keyed_partitions(topics.log, topics.pipeline) == dict.fromkeys(KEYED, 3) | {"raw": 2}
    assert uneven(topics.log, topics.pipeline) == [
        "toy.raw has 2 partitions and the other keyed topics 3: their last 1 stay empty. "
        "To use them: `kafka-topics --alter --topic toy.raw --partitions 3`"
    ]


def test_more_partitions_declared_than_there_are_is_said_with_the_way_to_get_them() -> None:
    log = topics_with({}).log
    assert uneven(log, toy("toy", 6)) == [
        "toy.raw has 2 partitions and the pipeline declares 6: 2 are used. More of them move keys to other partitions "
        "(docs/reliability.md), so add them yourself: `kafka-topics --alter --topic toy.raw --partitions 6`, then "
        "`headrace init PIPELINE` again"
    ]
    assert uneven(log, toy("toy", 2)) == []


def test_a_worker_does_not_start_where_its_topics_have_fewer_partitions_than_raw() -> None:
    topics = topics_with({"raw": 4, "labels": 4})
    with pytest.raises(ConfigError) as caught:
        check_partitions(topics.log, topics.pipeline, PREPROCESS)
    assert str(caught.value) == (
        "toy.raw has 4 partitions, and fewer have toy.features 2, toy.dead 2: run `headrace init PIPELINE`, "
        "which adds them"
    )
    add_missing_partitions(topics.log, topics.pipeline)
    check_partitions(topics.log, topics.pipeline, PREPROCESS)


def test_a_worker_starts_where_only_raw_has_fewer_or_no_topic_is_keyed() -> None:
    topics = topics_with(dict.fromkeys(KEYED - {"raw"}, 4))
    check_partitions(topics.log, topics.pipeline, PREPROCESS)
    check_partitions(topics.log, topics.pipeline, ("models", "decisions"))
