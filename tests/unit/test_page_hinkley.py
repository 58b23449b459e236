"""The Page-Hinkley test is the one of river, bit for bit, up to its first finding: the monitor then starts anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from river.drift import PageHinkley as RiversPageHinkley

from headrace.streams.monitor.page_hinkley import PageHinkley

ERRORS = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.9, 1.0]), max_size=60)


@given(ERRORS, st.integers(1, 20), st.floats(0, 0.2), st.floats(0, 3))
def test_a_rise_is_found_where_river_finds_it(errors: list[float], minimum: int, slack: float, limit: float) -> None:
    ours = PageHinkley(minimum, slack, limit)
    rivers = RiversPageHinkley(min_instances=minimum, delta=slack, threshold=limit, mode="up")
    for error in errors:
        rivers.update(error)  # type: ignore[no-untyped-call]
        rose = ours.rose(error)
        assert rose == rivers.drift_detected
        assert (ours._sum, ours._least, ours._mean) == (
            rivers._sum_increase,
            rivers._min_increase,
            rivers._x_mean.get(),
        )
        if rose:
            return


def test_a_rise_is_found_only_after_the_least_number_of_values() -> None:
    test = PageHinkley(minimum=7, slack=0.01, threshold=0.3)
    assert [test.rose(error) for error in [0.1] * 10 + [0.6] * 2] == [False] * 10 + [True] * 2
    early = PageHinkley(minimum=7, slack=0.01, threshold=0.3)
    assert [early.rose(error) for error in [0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]] == [False] * 6 + [True]
