"""Batch invariance: what feeding does to rows, what the certificate finds, and what becomes of real models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ModelRejected
from headrace.jobs.train.algorithms import ALGORITHMS
from headrace.jobs.train.dataset import Part
from headrace.jobs.train.export import Exported, to_onnx_bytes
from headrace.jobs.train.invariance import ROWS, WAYS, batching, differing
from headrace.models.score.feeding import Feeding, Matrix
from headrace.models.score.invariance import SIZES
from headrace.models.score.session import ScoringModel
from headrace.testing.models import model_package
from headrace.testing.pipelines import wide

pytestmark = pytest.mark.slow


def test_batching_is_read_from_a_manifest_as_it_is_written() -> None:
    for way in WAYS:
        assert Feeding.parse(str(way)) == way
    for other in ("", "at_least", "at_least(0)", "fixed(-1)", "fixed(1234567)", "any(2)", "at_most(3)"):
        with pytest.raises(ModelRejected, match="knows 'any', 'at_least"):
            Feeding.parse(other)


@given(st.sampled_from(WAYS), st.integers(0, 600))
def test_feeding_keeps_rows_and_gives_the_model_what_it_says(way: Feeding, count: int) -> None:
    rows = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    sizes = []

    def run(part: Matrix) -> Matrix:
        sizes.append(len(part))
        return part[:, :1].copy()

    assert way.feed(run, rows).tolist() == rows[:, :1].tolist()
    if way.kind == "fixed":
        assert set(sizes) == {way.rows}
    else:
        assert sizes == [max(count, way.rows)]


def uneven(at_least: int) -> Callable[[Matrix], Matrix]:
    """A model whose bits depend on the batch below a size, as kernels do."""

    def run(rows: Matrix) -> Matrix:
        return rows[:, :1] if len(rows) >= at_least else np.nextafter(rows[:, :1], np.float32(2))

    return run


@pytest.mark.parametrize(("needs", "found"), [(1, "any"), (2, "at_least(2)"), (5, "at_least(8)"), (64, "at_least(64)")])
def test_the_least_padding_that_makes_bits_agree_is_found(needs: int, found: str) -> None:
    x = np.random.default_rng(1).random((300, 3)).astype(np.float32)
    how, certificate = batching(uneven(needs), x)
    assert (how, certificate.passed) == (found, True)
    assert ("as they come they differ" in certificate.detail) == (needs > 1)


def test_where_only_a_fixed_size_helps_it_is_found() -> None:
    def run(rows: Matrix) -> Matrix:
        return rows[:, :1] * np.float32(1 + len(rows) / 7)

    how, certificate = batching(run, np.ones((10, 2), dtype=np.float32))
    assert (how, certificate.passed) == ("fixed(16)", True)


def test_a_model_that_looks_at_a_rows_place_has_no_certificate() -> None:
    def run(rows: Matrix) -> Matrix:
        return rows[:, :1] + np.arange(len(rows), dtype=np.float32)[:, None]

    how, certificate = batching(run, np.ones((10, 2), dtype=np.float32))
    assert (how, certificate.passed) == ("fixed(256)", False)
    assert "bits differ even when fed fixed(256): 100%" in certificate.detail


@pytest.mark.parametrize("features", [5, 20, 100, 500])
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_real_models_of_every_algorithm_agree_once_fed_as_found(algorithm: str, features: int) -> None:
    random = np.random.default_rng(features)
    x = random.normal(size=(400, features)).astype(np.float32)
    y = (x[:, 0] + random.normal(size=400) > 0).astype(float)
    model = ALGORITHMS[algorithm](wide(features), Part(x, y)).model
    run = Exported(to_onnx_bytes(model, features)).run
    how, certificate = batching(run, x)
    assert certificate.passed
    rows = np.resize(x, (ROWS, features))
    assert differing(run, rows, Feeding.parse(how)) == {}
    if algorithm == "logistic":  # a row alone takes another kernel: this is what the padding is for
        assert how == "at_least(2)"
        assert differing(run, rows, Feeding()).keys() == {"1 at a time"}


def test_every_scorer_feeds_a_model_as_its_manifest_says() -> None:
    package = model_package(wide(2), 3)
    assert package.manifest.batching == "at_least(2)"
    model = ScoringModel(package)
    rows = np.random.default_rng(2).random((ROWS, 2)).astype(np.float32)
    whole = model.score(rows).tobytes()
    for size in SIZES:
        assert b"".join(model.score(rows[i : i + size]).tobytes() for i in range(0, ROWS, size)) == whole
