"""A pipeline whose processes all run while nothing comes of its records: said where people look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from headrace.kafka.log import Chunk, Output
from headrace.models.package.topic import publication
from headrace.query.trouble import LOOK, troubles
from headrace.testing.memory import in_memory
from headrace.testing.models import model_package
from headrace.testing.pipelines import clicks, toy
from headrace.topics.pipeline_topics import PipelineTopics


@pytest.fixture
def topics() -> PipelineTopics:
    return in_memory(toy("shop"))


def write(topics: PipelineTopics, *outputs: Output) -> None:
    writer = topics.log.writer("test")
    writer.begin()
    for output in outputs:
        writer.write(output)
    writer.commit()
    writer.close()


def raw(topics: PipelineTopics, count: int) -> Chunk:
    rows = clicks(0, count).head(count)
    values = list(topics.codec("raw").encode(rows.select(list(topics.columns("raw")))))
    write(topics, Output(topics.tp("raw"), [b"k"] * count, values))
    return Chunk.of(topics.tp("raw"), range(count), [b"k"] * count, values)


def letters(topics: PipelineTopics, chunk: Chunk, count: int, code: str = "feature_not_finite") -> None:
    failed = [(place, code, "features() gave price = None") for place in range(len(chunk) - count, len(chunk))]
    write(topics, *topics.dead("preprocess", chunk, failed))


def test_a_pipeline_that_works_has_none(topics: PipelineTopics) -> None:
    assert troubles(topics) == []
    chunk = raw(topics, 200)
    letters(topics, chunk, 9)
    assert troubles(topics) == []


def test_a_share_of_dead_letters_is_told_with_its_reason_and_the_command_that_shows_them(
    topics: PipelineTopics,
) -> None:
    chunk = raw(topics, 200)
    letters(topics, chunk, 154)
    letters(topics, chunk.slice(0, 4), 4, "too_late")
    (found,) = troubles(topics)
    assert str(found) == (
        "79% of the last 201 records of shop.raw became dead letters, most of them feature_not_finite "
        "(features() gave price = None); see `headrace dead list shop --stage preprocess`"
    )


def test_what_is_long_past_is_not_told(topics: PipelineTopics) -> None:
    letters(topics, raw(topics, 200), 150)
    raw(topics, LOOK + 200)
    assert troubles(topics) == []


def test_a_training_that_failed_is_told_until_one_gives_a_model(topics: PipelineTopics) -> None:
    trigger = Chunk.of(topics.tp("triggers"), [0], [b"t"], [b"x"])
    write(topics, *topics.dead("retrain", trigger, [(0, "training_refused", "one class only")]))
    (found,) = troubles(topics)
    assert str(found) == (
        "the last training gave no model: training_refused (one class only); see "
        "`headrace dead list shop --stage retrain`"
    )
    package = model_package(topics.pipeline, 1)
    later = package.manifest.model_copy(update={"at": datetime.now(UTC) + timedelta(seconds=1)})
    write(topics, *publication(topics, type(package)(later, package.onnx)))
    assert troubles(topics) == []
