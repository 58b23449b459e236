"""Rejections and rollbacks on a real Kafka, with real processors as child processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from headrace.config import Settings
from headrace.errors import ConfigError
from headrace.governance.catalog import governance
from headrace.governance.decisions import order_rejection, order_rollback
from headrace.kafka.log import TopicPartition
from headrace.query.audit.audit import audit
from headrace.query.models import model_views
from headrace.testing.pipelines import clicks
from tests.integration.platform import Platform
from tests.waiting import wait_for


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("toy"), settings, tmp_path)


def test_rejecting_the_champion_puts_what_was_said_in_its_place(platform: Platform) -> None:
    with platform.running("preprocess-0", "infer-0", "govern-0"):
        first = platform.activate(16)
        before = platform.wait_ruling(first)
        second = platform.activate(17)
        platform.wait_ruling(second)
        with pytest.raises(ConfigError, match="is the champion: say what rules instead; possible are previous"):
            order_rejection(platform.topics, second, "test", "unfair")
        done = order_rejection(platform.topics, second, "test", "unfair", "previous")
        platform.wait_ruling(first)
        platform.push(clicks(0, 50))
        platform.wait_rows("predictions", 50)
        with pytest.raises(ConfigError, match="there is no earlier policy to go back to whose models are not rejected"):
            order_rollback(platform.topics, "test", "back")
    assert done.instead is not None
    assert done.instead.activation_id == before.activation_id
    assert set(platform.rows("predictions")["model_id"]) == {first}
    assert {v.id: v.state for v in model_views(platform.topics)} == {first: "champion", second: "rejected"}
    assert audit(platform.topics).violations == []


def test_a_rollback_goes_ahead_of_an_approval_that_waits_for_a_worker(platform: Platform) -> None:
    with platform.running("preprocess-0", "infer-0", "govern-0"):
        ids = []
        for seed in (18, 19):
            ids.append(platform.activate(seed))
            platform.wait_ruling(ids[-1])
            platform.wait_loaded(ids[-1])
        group = f"{platform.topics.pipeline.name}.infer"
        stuck = platform.log.group(group, [platform.topics.topic("features")], "stuck", Nobody())
        stuck.poll(1, 0)  # a member that never answers: who waits for all of them waits the whole time
        wait_for(lambda: (stuck.poll(1, 0.1), len(platform.log.members(group)) == 2)[1], 40, "the member that is stuck")
        platform.activate(20)
        order_rollback(platform.topics, "test", "on fire")
        refused = wait_for(lambda: list(governance(platform.topics).refused.values()), 20, "the approval's refusal")
        stuck.close()
        platform.wait_ruling(ids[0])
        platform.push(clicks(0, 50))
        platform.wait_rows("predictions", 50)
    overtaken = "overtaken by the rollback ordered by test: order it anew if it is still wanted"
    assert [r.reason for r in refused] == [overtaken]
    assert [a.model_id for a in governance(platform.topics).activations.values()] == [*ids, ids[0]]
    assert set(platform.rows("predictions")["model_id"]) == {ids[0]}
    assert audit(platform.topics).violations == []


class Nobody:
    """A member of a group that does nothing with what it is told."""

    def on_revoked(self, tps: Sequence[TopicPartition]) -> None: ...

    def on_lost(self, tps: Sequence[TopicPartition]) -> None: ...

    def on_assigned(self, tps: Sequence[TopicPartition]) -> None: ...
