"""A push no faster than asked: so many rows a second, or as fast as they happened."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.producers.pacing import TICK_S, Pace


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("headrace.producers.pacing.time.monotonic", lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_rows_come_at_the_rate_asked_for(clock: Clock) -> None:
    pace = Pace(rate=200)
    pace._sleep = clock.sleep
    given = [(part, clock.now - 1000.0) for part in pace.parts(np.zeros(95, dtype=np.int64))]
    assert [part for part, _ in given] == [slice(i, min(i + 10, 95)) for i in range(0, 95, 10)]
    assert [at for _, at in given] == pytest.approx([i / 200 for i in range(0, 95, 10)])


def test_rows_come_as_fast_as_they_happened_times_a_factor(clock: Clock) -> None:
    pace = Pace(speed=10)
    pace._sleep = clock.sleep
    times = np.array([0, 0, 400_000, 300_000, 2_000_000], dtype=np.int64)
    given = [(part, clock.now - 1000.0) for part in pace.parts(times)]
    assert [part for part, _ in given] == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert all(at <= due + TICK_S + 1e-9 for (_, at), due in zip(given, [0, 0.04, 0.2], strict=True))
    assert list(pace.parts(np.array([2_500_000], dtype=np.int64))) == [slice(0, 1)]
    assert clock.now - 1000.0 == pytest.approx(0.25, abs=2 * TICK_S)


def test_without_a_pace_all_rows_come_at_once() -> None:
    assert list(Pace().parts(np.zeros(7, dtype=np.int64))) == [slice(0, 7)]
