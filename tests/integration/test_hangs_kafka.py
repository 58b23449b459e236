"""A record on which compiled code never returns, through real workers on a real Kafka: one dead letter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from headrace.config import Settings
from headrace.query.dead.letters import dead_letters
from headrace.testing.pipelines import STUCK, clicks
from tests.integration.platform import Platform
from tests.waiting import wait_for

MOST_STARTS = 12


@pytest.fixture
def platform(unique: Callable[[str], str], settings: Settings, tmp_path: Path) -> Platform:
    return Platform(unique("toy"), settings, tmp_path)


def test_a_record_on_which_workers_hang_for_good_becomes_a_dead_letter(platform: Platform, tmp_path: Path) -> None:
    """Each worker that hangs ends itself; whoever runs it starts it again, as this test does."""
    platform.settings = replace_state(platform.settings, tmp_path / "state")
    rows = clicks(0, 150, labelled=False)
    stuck = rows["click_id"][70]
    platform.push(rows.with_columns(price=pl.when(click_id=stuck).then(STUCK).otherwise("price")))
    starts = 0
    while not dead_letters(platform.topics).letters and starts < MOST_STARTS:
        worker = f"preprocess-{starts}"
        child = platform.start(worker)
        starts += 1
        wait_for(
            lambda c=child: c.poll() is not None or bool(dead_letters(platform.topics).letters),  # type: ignore[misc]
            60,
            "the end of a worker that hangs, or a dead letter",
        )
        if child.poll() is None:
            wait_for(lambda: platform.rows("features").height == 149, 60, "all other features")
            child.terminate()
            child.wait(30)
    letters = list(dead_letters(platform.topics).letters.values())
    assert [(d.stage, d.code) for d in letters] == [("preprocess", "processor_failed")]
    assert letters[0].reason == "the process hung on this record 2 times, and was ended"
    assert sorted(platform.rows("features")["id"]) == sorted(set(rows["click_id"]) - {stuck})
    said = "".join(platform.said(f"preprocess-{n}") for n in range(starts))
    assert "hung on" in said
    assert "its threads stood here" in said


def replace_state(settings: Settings, state: Path) -> Settings:
    """Settings with a state folder of their own: what workers note stays there."""
    return settings.model_copy(update={"state": state})
