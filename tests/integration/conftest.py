"""A log with everything on it, for what judges logs."""

from __future__ import annotations

import gc
import uuid
import warnings
from pathlib import Path

import polars as pl
import pytest

from headrace.config import Settings
from headrace.governance.catalog import governance
from headrace.governance.decisions import order_rollback
from headrace.kafka.log import Chunk, read_all
from headrace.kafka.memory import MemoryLog
from headrace.query.audit import scope
from headrace.testing.pipelines import POISON, clicks
from headrace.topics.pipeline_topics import PipelineTopics
from headrace.topics.table import TOPICS
from tests.integration.platform import Platform
from tests.waiting import wait_for

GROUPS = ("preprocess", "infer", "join")


@pytest.fixture(scope="module")
def swept() -> None:
    """What earlier tests left lying is gone, so that it is not laid at the door of one that looks for such things."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(scope="session")
def good(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A log with everything on it, for those who only read it."""
    return everything(settings, tmp_path_factory.mktemp("audited"))


@pytest.fixture
def spoilable(settings: Settings, tmp_path: Path) -> Platform:
    """The same, for one who writes to it."""
    return everything(settings, tmp_path)


def everything(settings: Settings, folder: Path) -> Platform:
    """A log with damaged records, dead letters, shadows, shared answers, a rollback."""
    platform = Platform(f"audited-{uuid.uuid4().hex[:8]}", settings, folder)
    with platform.running("preprocess-0", "join-0", "infer-0", "govern-0"):
        rows = clicks(0, 300)
        platform.push(rows.with_columns(price=pl.when(click_id="c7").then(POISON).otherwise("price")))
        platform.push_bytes([None, b"\x01nonsense"])
        platform.push(rows.filter(kind="result").tail(1))  # a label once more
        first = platform.activate(1)
        platform.wait_ruling(first)
        _pushed(platform, 300)
        second = platform.activate(2, shadows=(first,))
        platform.wait_ruling(second)
        _pushed(platform, 400)
        platform.activate(3, share=30)
        wait_for(lambda: len(governance(platform.topics).activations) == 3, 40, "a shared policy")
        _pushed(platform, 500)
        order_rollback(platform.topics, "test", "back")
        wait_for(lambda: len(governance(platform.topics).activations) == 4, 40, "the rollback")
        _pushed(platform, 600)
        wait_for(lambda: _caught_up(platform), 40, "every record to be done with")
    return platform


def _pushed(platform: Platform, start: int) -> None:
    """A hundred clicks whose features stand before whatever marker comes next."""
    platform.push(clicks(start, 100))
    platform.wait_rows("features", start + 100 - 1)  # the poisoned one has none


@pytest.fixture(scope="session")
def copied(good: Platform) -> dict[str, list[Chunk]]:
    """Topic -> what the good log holds."""
    return {name: list(read_all(good.log, good.topics.topic(name))) for name in TOPICS}


@pytest.fixture
def twin(good: Platform, copied: dict[str, list[Chunk]]) -> PipelineTopics:
    """The good log copied, record by record and offset by offset, into memory, where it can be spoilt."""
    log = MemoryLog()
    topics = good.topics
    log.create_topics({topics.topic(t): (good.log.partitions(topics.topic(t)), {}) for t in TOPICS})
    for chunks in copied.values():
        for chunk in chunks:
            log.place(chunk)
    for group in GROUPS:
        log.commit(f"{topics.pipeline.name}.{group}", good.log.committed(f"{topics.pipeline.name}.{group}"))
    return PipelineTopics(topics.pipeline, log, topics.registry)


def _caught_up(platform: Platform) -> bool:
    """Whether every group has consumed all that its inputs hold."""
    topics = platform.topics
    for group, inputs in scope.INPUTS.items():
        committed = platform.log.committed(f"{topics.pipeline.name}.{group}")
        for name in inputs:
            for chunk in read_all(platform.log, topics.topic(name)):
                if committed.get(chunk.tp, 0) < chunk.next_offset:
                    return False
    return True
