"""Rows that a service hands over for scoring: numbers by name, or refused with row and feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace.client.feature_rows import as_rows, feature_matrix, ids_of
from headrace.errors import SchemaError

FEATURES = ["price", "seen_10m"]
GOOD = {"price": 9.5, "seen_10m": 1}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"price": {"a": 1}, "seen_10m": 1}], "row 0: price is an object of 1, not a number"),
        ([GOOD, {"price": "9.5", "seen_10m": True}], 'row 1: price is "9.5", not a number'),
        ([GOOD, {"price": 9.5}], "row 1 lacks the feature seen_10m"),
        ([GOOD, {"price": None, "seen_10m": 1}], "row 1: price is nan|row 1: price is None"),
        ([{"price": float("nan"), "seen_10m": 1}], "row 0: price is nan"),
        ([GOOD, {"price": 1e39, "seen_10m": 1}], r"row 1: price is 1e\+39; a model takes finite numbers of 32 bits"),
        ([{"price": 10**400, "seen_10m": 1}], "row 0: price is .*, which is too large"),
        ([GOOD, [1, 2]], "row 1 is a list of 2, not a mapping of features"),
        (pl.DataFrame({"price": [1.0]}), "rows lack the feature columns seen_10m"),
        (pl.DataFrame({"price": ["1"], "seen_10m": [1]}), "feature price is a column of String, not of numbers"),
        (pl.DataFrame({"price": [1.0, None], "seen_10m": [1, 2]}), "row 1: price is None"),
    ],
)
def test_a_row_that_is_none_of_numbers_is_refused_by_name(rows: Any, told: str) -> None:
    with pytest.raises(SchemaError, match=told):
        feature_matrix(as_rows(rows), FEATURES)


def test_what_is_no_feature_is_passed_over() -> None:
    rows = [{**GOOD, "extra": {"deep": [1, {"a": 2}]}}, {**GOOD, "extra": "x", "seen_10m": True}]
    assert feature_matrix(as_rows(rows), FEATURES).tolist() == [[9.5, 1.0], [9.5, 1.0]]
    assert feature_matrix(as_rows(GOOD), FEATURES).dtype == np.float32
    assert feature_matrix(as_rows([]), FEATURES).shape == (0, 2)


def test_rows_are_routed_by_their_id_and_else_by_their_index() -> None:
    assert ids_of(as_rows([{"id": 7}, {}]), "id") == ["7", "1"]
    assert ids_of(as_rows(pl.DataFrame({"id": ["a", "b"]})), "id") == ["a", "b"]
    assert ids_of(as_rows(pl.DataFrame({"x": [1, 2]})), "id") == ["0", "1"]
