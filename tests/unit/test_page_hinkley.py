"""The Page-Hinkley test finds what river's finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from river.drift import PageHinkley as Oracle

from headrace.streams.monitor.page_hinkley import PageHinkley


@given(
    st.lists(st.floats(0, 1), max_size=300),
    st.sampled_from([0.0, 0.005, 0.01, 0.1]),
    st.sampled_from([0.05, 0.2, 0.8]),
    st.integers(1, 10),
)
def test_rises_are_those_that_river_finds(values: list[float], slack: float, threshold: float, minimum: int) -> None:
    oracle = Oracle(min_instances=minimum, delta=slack, threshold=threshold, mode="up")
    test = PageHinkley(slack, threshold, minimum)
    for value in values:
        oracle.update(value)  # type: ignore[no-untyped-call]
        assert test.update(value) == bool(oracle.drift_detected)


def test_a_series_that_steps_up_is_told_once_and_watched_anew() -> None:
    test = PageHinkley(0.01, 0.8)
    assert [i for i in range(60) if test.update(0.2)] == []
    risen = [i for i in range(60) if test.update(0.6)]
    assert len(risen) == 1
    assert [i for i in range(60) if test.update(0.6)] == []
