"""The drift index: it sees every move, from a dominant value and out of the range too, and none that is chance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.declare.drift import Drift
from headrace.jobs.train.export import baseline
from headrace.jobs.versions.diff import _shift
from headrace.models.psi import baseline_of, binned, by_chance, ks, psi
from headrace.streams.monitor.feature_windows import FeatureWindows
from headrace.streams.monitor.triggers import Triggers
from headrace.testing.pipelines import toy

Draw = Callable[[np.random.Generator, int], np.ndarray[tuple[int], np.dtype[Any]]]
FIVES, MOSTLY_ONE, MOSTLY_ZERO = [5.0] * 1000, [1.0] * 950 + [0.0] * 50, [0.0] * 950 + [1.0 + i / 50 for i in range(50)]
MOVES = {
    "95 % ones, then only zeros": (MOSTLY_ONE, [0.0] * 1000),
    "a constant, then far below it": (FIVES, [-100.0] * 1000),
    "a constant, then above it": (FIVES, [6.0] * 1000),
    "a constant, then just below it": (FIVES, [4.999999] * 1000),
    "nearly all zeros, then below them": ([0.0] * 990 + [float(i) for i in range(1, 11)], [-1.0] * 1000),
    "a count that is mostly 1, then 0": ([1.0] * 920 + [2.0] * 50 + [3.0] * 30, [0.0] * 1000),
    "5 % at ten times the old maximum": (MOSTLY_ZERO, [0.0] * 950 + [20.0] * 50),
    "the dominant value goes": (MOSTLY_ONE, [0.0] * 50 + [0.5] * 950),
}


@pytest.mark.parametrize("move", MOVES)
def test_a_move_from_a_dominant_value_or_out_of_the_range_is_seen(move: str) -> None:
    train, window = (np.asarray(side, dtype=np.float32) for side in MOVES[move])
    (known,) = baseline(train[:, None], ("x",))
    assert psi(known, binned(known.edges, train)) == 0
    assert psi(known, binned(known.edges, window)) > 0.25
    assert ks(known, binned(known.edges, window)) >= 0.049
    assert (_shift(train.astype(np.float64), window.astype(np.float64)) or 0.0) > 0.25


finite = st.floats(-1e6, 1e6, width=32)


@given(st.lists(st.one_of(finite, st.sampled_from([0.0, 1.0])), min_size=1, max_size=60), st.lists(finite, min_size=1))
def test_values_outside_those_of_the_training_are_in_bins_that_were_empty(train: list[float], new: list[float]) -> None:
    values = np.asarray(train, dtype=np.float32)
    found = baseline_of("x", values)
    assert (found.shares[0], found.shares[-1], found.rows) == (0, 0, len(train))
    assert sum(found.shares) == pytest.approx(1)
    outside = np.asarray([v for v in new if not min(train) <= v <= max(train)], dtype=np.float32)
    assert binned(found.edges, outside)[1:-1].sum() == 0
    for value, count in zip(*np.unique(values, return_counts=True), strict=True):
        if count * 10 >= len(values):
            place = int(binned(found.edges, np.array([value])).argmax())
            assert found.shares[place] == pytest.approx(count / len(values))


SAME: dict[str, Draw] = {
    "normal": lambda r, n: r.normal(size=n),
    "skewed": lambda r, n: r.lognormal(sigma=2.0, size=n),
    "yes or no": lambda r, n: r.integers(0, 2, n),
    "rarely yes": lambda r, n: r.random(n) < 0.02,
    "counts": lambda r, n: r.poisson(1.0, n),
    "mostly zero": lambda r, n: np.where(r.random(n) < 0.97, 0.0, r.exponential(size=n)),
    "seven codes": lambda r, n: r.integers(0, 7, n),
}


@pytest.mark.parametrize("rows", [1, 5, 10, 20, 50, 100, 200, 1000])
@pytest.mark.parametrize("trained", [400, 5000])
@pytest.mark.parametrize("kind", SAME)
def test_windows_of_the_same_distribution_ask_for_no_training(kind: str, trained: int, rows: int) -> None:
    random = np.random.default_rng(len(kind))
    known = baseline_of("x", SAME[kind](random, trained).astype(np.float32))
    over = 0
    for _ in range(300):
        counts = binned(known.edges, SAME[kind](random, rows).astype(np.float32))
        over += psi(known, counts) > Drift().psi and not by_chance(known, counts)
    assert over == 0


def test_a_window_of_few_rows_that_has_moved_is_told_from_chance_as_soon_as_it_can_be() -> None:
    known = baseline_of("x", np.random.default_rng(1).normal(size=5000).astype(np.float32))
    moved = np.random.default_rng(2).normal(1.5, size=200).astype(np.float32)
    found = {n: by_chance(known, binned(known.edges, moved[:n])) for n in (0, 5, 50, 100, 200)}
    assert found == {0: True, 5: True, 50: False, 100: False, 200: False}
    constant = baseline_of("x", np.full(1000, 5, dtype=np.float32))
    beyond = [n for n in range(1, 6) if not by_chance(constant, binned(constant.edges, np.full(n, 6.0)))]
    assert beyond == [3, 4, 5]


def test_the_index_by_chance_is_that_of_the_chi_squared_distribution() -> None:
    """Two bins, half and half: the index is known, and where it comes to be too large for chance."""
    from scipy.stats import chi2

    known = baseline_of("x", np.repeat([0, 1], 50_000).astype(np.float32))
    rows = 2_000
    edge = chi2.isf(1e-5, sum(s > 0 for s in known.shares)) * (1 / rows + 1 / known.rows)
    for more in range(0, 300, 2):
        window = np.repeat([0, 1], [rows // 2 + more, rows // 2 - more]).astype(np.float32)
        counts = binned(known.edges, window)
        index = psi(known, counts)
        if abs(index - edge) > 0.1 * edge:
            assert by_chance(known, counts) == (index < edge)


def _asked(rows: int, value: float) -> list[str]:
    """The reasons of the trainings that a window of so many rows of one value asks for; trained on 0.7 alone."""
    known = baseline_of("price", np.full(1000, 0.7, dtype=np.float32))
    windows = FeatureWindows(3_600_000_000)
    times = pl.Series([datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=i) for i in range(rows)])
    frame = pl.DataFrame({"event_time": times.cast(pl.Datetime("us", "UTC")), "price": [value] * rows})
    windows.add("m", [known], 0, frame, np.arange(rows))
    triggers = Triggers(toy("t"), list)
    (closed,) = windows.closed(2**62)
    return [t.reason for t in triggers.features_moved(closed, int(2e15), "m")]


def test_a_window_is_held_against_the_floats_that_the_model_was_trained_on() -> None:
    """0.7 is 0.699999988 as a 32-bit float: as a 64-bit one it would stand above all that was seen in training."""
    assert float(np.float32(0.7)) < 0.7
    assert _asked(100, 0.7) == []
    assert _asked(100, 0.8) == ["drift"]


def test_too_few_rows_ask_for_nothing() -> None:
    assert _asked(1, 0.8) == []
