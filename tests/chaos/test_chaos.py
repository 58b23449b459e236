"""The short run: twenty faults of every kind that one broker can suffer, under load, and a clean audit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.run import Chaos, Plan
from tests.chaos.schedule import BRIEF, CLUSTER, DISK, KINDS, POINTS, SINGLE_BROKER, STATEFUL, schedule
from tests.disk import may_mount

PLAN = Plan(seed=5, faults=22, records=10_000, kinds=BRIEF, forked=True)


@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_a_fault_of_each_kind_loses_nothing_doubles_nothing_and_mixes_no_models(tmp_path: Path) -> None:
    result = Chaos(PLAN, tmp_path, print).run()
    assert result.violations == []
    assert set(result.faults) == {k for k in BRIEF if may_mount() or k not in DISK}
    assert sum(result.faults.values()) == 22
    assert result.records >= 10_000
    assert result.answers >= 5_000
    ordered = ("activate", "rollback", "govern_approved", "govern_markers", "disk_full", "disk_read_only")
    orders = sum(result.faults.get(kind, 0) for kind in ordered)
    assert result.activations == 1 + orders  # each order once, however govern died


def test_a_schedule_is_a_function_of_its_seed() -> None:
    workers = PLAN.workers
    assert schedule(7, 50, SINGLE_BROKER, workers) == schedule(7, 50, SINGLE_BROKER, workers)
    assert schedule(7, 50, SINGLE_BROKER, workers) != schedule(8, 50, SINGLE_BROKER, workers)


def test_a_long_schedule_does_everything_to_everyone() -> None:
    faults = schedule(1, 600, KINDS, PLAN.workers, brokers=3)
    assert {f.kind for f in faults} == set(KINDS)
    assert {f.target for f in faults if f.kind == "kill"} == set(PLAN.workers)
    assert {f.target for f in faults if f.kind in ("broker", "bounce")} == {"1", "2", "3"}
    assert {f.point for f in faults if f.kind == "step"} == set(POINTS) - {"after_tracked", "in_rebuild"}
    assert {f.target for f in faults if f.kind == "rebuild"} == set(STATEFUL)
    assert {f.together for f in faults} == {True, False}
    assert {f.kind for f in schedule(1, len(CLUSTER), CLUSTER, PLAN.workers, 3)} == set(CLUSTER)
