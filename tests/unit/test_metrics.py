"""Figures of scores and labels: what the field's own tools say, whatever the order and the batches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from headrace.models.psi import ks, psi
from headrace.schema.records import FeatureBaseline
from headrace.streams.monitor.figures import Figure, figures
from headrace.streams.monitor.score_windows import ScoreWindows, Stream
from headrace.streams.monitor.tally import BINS, CURVE, POINT, Tally
from headrace.streams.monitor.versions import Key, Versions

HALVES = FeatureBaseline(feature="x", edges=[0.5], shares=[0.5, 0.5])
STREAM = Stream("m", "champion")
Columns = tuple[np.ndarray, ...]


def of(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> Tally:
    """A tally of predictions that all have their label."""
    groups = np.zeros((len(scores), 0), dtype=np.int32) if groups is None else groups
    tally = Tally()
    tally.add_predictions(scores, groups)
    tally.add_outcomes(scores, labels, groups)
    return tally


def found(tally: Tally, row: int = 0) -> dict[str, Figure]:
    return figures(tally.counts[row], tally.sums[row])


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.beta(0.5, 0.8, 3_000).astype(np.float32).astype(np.float64)
    labels = (random.random(3_000) < 0.2 + 0.6 * scores).astype(np.float64)
    got = found(of(scores, labels))
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    pairs = np.bincount(bins[labels == 0], minlength=BINS) @ np.bincount(bins[labels == 1], minlength=BINS)
    bound = pairs / (2 * (labels == 0).sum() * (labels == 1).sum())
    assert 0 < bound < 0.001
    assert abs(got["auc"].value - roc_auc_score(labels, scores)) <= bound
    assert got["log_loss"].value == pytest.approx(log_loss(labels, np.clip(scores, 1e-7, 1 - 1e-7)), abs=1 / POINT)
    assert got["brier"].value == pytest.approx(brier_score_loss(labels, scores), abs=1 / POINT)
    assert got["score_mean"].value == pytest.approx(scores.mean(), abs=1 / POINT)
    assert got["label_rate"].value == labels.mean()
    assert got["positive_rate"].value == (scores >= 0.5).mean()
    assert got["true_positive_rate"].value == (scores[labels == 1] >= 0.5).mean()
    assert got["false_positive_rate"].value == (scores[labels == 0] >= 0.5).mean()
    coarse = np.minimum((scores * CURVE).astype(int), CURVE - 1)
    counts = np.bincount(coarse, minlength=CURVE)
    assert got["score_histogram"].bins == tuple(counts)
    means, rates = (np.bincount(coarse, weights=w, minlength=CURVE) / counts for w in (scores, labels))
    curve = np.array(got["calibration_error"].bins).reshape(3, CURVE)
    np.testing.assert_allclose(curve, [counts, means, rates], atol=1 / POINT)
    assert got["calibration_error"].value == pytest.approx((counts * abs(means - rates)).sum() / 3_000)
    assert {n: f.records for n, f in got.items()} == {
        **dict.fromkeys(got, 3_000),
        "true_positive_rate": labels.sum(),
        "false_positive_rate": 3_000 - labels.sum(),
    }


def test_scores_and_labels_that_are_none_are_counted_apart() -> None:
    scores = np.array([0.2, np.nan, np.inf, -0.1, 1.5, 1.0, 0.7])
    labels = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 2.0])
    got = found(of(scores, labels))
    assert got["predictions"] == (7, 7, ())
    assert got["invalid_scores"] == (4, 7, ())
    assert got["labels"] == (6, 6, ())
    assert got["invalid_labels"] == (1, 7, ())
    assert got["labels_missing"].value == 0
    assert got["score_mean"].records == 3
    assert (got["auc"].value, got["auc"].records) == (1.0, 2)
    assert np.isfinite([f.value for f in got.values()]).all()


def test_figures_that_are_not_defined_are_left_out() -> None:
    nothing = {"predictions", "score_histogram", "score_mean", "positive_rate", "labels", "labels_missing"}
    tally = Tally()
    tally.add_predictions(np.array([0.5]), np.zeros((1, 0), dtype=np.int32))
    assert set(found(tally)) == nothing
    measured = {"label_rate", "log_loss", "brier", "calibration_error"}
    assert set(found(of(np.array([0.5]), np.array([1.0])))) == nothing | measured | {"true_positive_rate"}
    assert set(found(of(np.array([0.5]), np.array([0.0])))) == nothing | measured | {"false_positive_rate"}
    assert set(found(Tally())) == {"predictions", "labels"}


def test_a_groups_figures_are_those_of_its_records_alone() -> None:
    random = np.random.default_rng(1)
    scores, labels = random.random(500), random.integers(0, 2, 500).astype(np.float64)
    groups = np.stack([random.integers(0, 4, 500), random.integers(4, 6, 500)], axis=1).astype(np.int32)
    tally = of(scores, labels, groups)
    for row in range(1, 6):
        inside = (groups == row).any(axis=1)
        assert found(tally, row) == found(of(scores[inside], labels[inside]))
    assert found(tally) == found(of(scores, labels))


RECORD = st.tuples(
    st.integers(0, 2), st.floats(0, 1, width=32), st.sampled_from([0.0, 1.0]), st.integers(0, 3), st.booleans()
)


def final(records: list[tuple[int, float, float, int, bool]], cuts: list[int]) -> list[tuple[object, ...]]:
    """Figures of all windows and groups once these records have come in these batches."""
    windows = ScoreWindows()
    edges = sorted({0, len(records), *(c for c in cuts if c < len(records))})
    for start, stop in pairwise(edges):
        part = records[start:stop]
        numbers, scores, labels, groups = (
            np.array([r[i] for r in part], dtype=t) for i, t in enumerate((np.int64, np.float64, np.float64, np.int32))
        )
        windows.add_predictions(STREAM, numbers, scores, groups[:, None])
        labelled = np.array([r[4] for r in part])
        if labelled.any():
            columns = (numbers[labelled], scores[labelled], labels[labelled], groups[labelled][:, None])
            windows.add_outcomes(STREAM, *columns)
    return [(w, g, tuple(f.items())) for w, g, f in windows.figures(9, ["", "a", "b", "c"])]


@given(st.lists(RECORD, min_size=1, max_size=40), st.data())
@settings(max_examples=100)
def test_any_order_and_any_batches_of_the_same_records_give_the_same_figures(
    records: list[tuple[int, float, float, int, bool]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(records))
    cuts = data.draw(st.lists(st.integers(1, 40), max_size=8))
    assert final(shuffled, cuts) == final(records, [])


def test_records_for_a_final_window_are_given_back_and_change_nothing() -> None:
    windows = ScoreWindows()
    windows.finish(5)
    none = np.zeros((3, 0), dtype=np.int32)
    numbers, ones = np.array([4, 5, 4]), np.ones(3)
    assert dict(windows.add_predictions(STREAM, numbers, ones, none)) == {(STREAM, 4): 2}
    assert dict(windows.add_outcomes(STREAM, numbers, ones, ones, none)) == {(STREAM, 4): 2}
    assert {w.number: t.counts.sum() for w, t in windows.tallies.items()} == {5: 2}


def test_what_is_written_once_is_due_again_only_where_it_has_changed() -> None:
    versions = Versions()
    key = Key("m", "champion", "", 1)
    figures = {"a": Figure(1.0, 1), "b": Figure(2.0, 1)}
    assert versions.due(key, figures) == (1, figures)
    assert versions.due(key, figures) is None
    assert versions.due(key, figures | {"b": Figure(2.0, 2)}) == (2, {"b": Figure(2.0, 2)})
    again = Versions()
    again.recall(key, "a", 1, Figure(1.0, 1))
    again.recall(key, "b", 1, Figure(2.0, 1))
    again.recall(key, "b", 2, Figure(2.0, 2))
    assert again.due(key, figures | {"b": Figure(2.0, 2)}) is None
    assert again.due(key, {"a": Figure(1.5, 1)}) == (3, {"a": Figure(1.5, 1)})


def test_psi_is_nought_where_shares_agree_and_as_its_formula_where_not() -> None:
    assert psi(HALVES, np.array([50, 50])) == 0
    wanted = (0.9 - 0.5) * np.log(0.9 / 0.5) + (0.1 - 0.5) * np.log(0.1 / 0.5)
    assert psi(HALVES, np.array([90, 10])) == pytest.approx(wanted)
    assert np.isfinite(psi(HALVES, np.array([100, 0])))


def test_ks_is_the_largest_difference_of_the_cumulative_shares_at_the_edges() -> None:
    thirds = FeatureBaseline(feature="x", edges=[0.25, 0.75], shares=[0.25, 0.5, 0.25])
    assert ks(thirds, np.array([25, 50, 25])) == 0
    assert ks(thirds, np.array([60, 30, 10])) == pytest.approx(0.35)
    assert ks(thirds, np.array([0, 0, 0])) == pytest.approx(0.75)


def test_a_window_of_which_nothing_was_defined_can_be_let_go() -> None:
    versions = Versions()
    assert versions.due(Key("m", "", "", 1), {}) is None
    versions.finish(2)
    assert versions.due(Key("m", "", "", 1), {"x": Figure(1.0, 1)}) == (1, {"x": Figure(1.0, 1)})
