"""What a model takes: features as 32-bit floats, rounded in one way everywhere, and labels of its target.

Training, gates, streaming and embedded scoring make their matrices by the same two steps, to a 64-bit float and then to
a 32-bit one: an integer over 2^53, or a number over 2^24, is the same to all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from headrace.declare.pipeline import Pipeline
from headrace.declare.target import Binary
from headrace.models.score.feeding import Matrix

LARGEST_CODE = 2**24
"""From here on, neighbouring whole numbers are the same 32-bit float: two categories would be one."""


class Misfit(NamedTuple):
    """A row that no model can take: its place in the frame, the code of its dead letter, and the value in words."""

    row: int
    code: str
    said: str


def matrix(rows: pl.DataFrame, names: Sequence[str]) -> Matrix:
    """The features ``names`` of rows, float32 (n, len(names)); null and NaN are NaN, what no float32 holds is infinite.

    The rounding is that of :meth:`headrace.codec.batch.Batch.matrix`, which reads features straight from the log.

    Raises:
        polars.exceptions.PolarsError: a column holds no numbers.
    """
    found = rows.select(pl.col(name).cast(pl.Float64).cast(pl.Float32) for name in names).to_numpy()
    return np.ascontiguousarray(found, dtype=np.float32)


def misfits(pipeline: Pipeline, rows: pl.DataFrame) -> list[Misfit]:
    """The feature rows that no model can take, in their order, each with the first feature that is in the way.

    A number must be finite as a 32-bit float, a category a whole number of at most LARGEST_CODE, and none may be null.
    """
    columns = pipeline.feature_columns
    wrong = {name: _wrong(name, columns[name], pipeline) for name in columns}
    flags = rows.select(expression.alias(name) for name, expression in wrong.items())
    found: list[Misfit] = []
    if not any(column.any() for column in flags):
        return found
    for place in np.flatnonzero(_any(flags)).tolist():
        name = next(n for n, flag in flags.row(place, named=True).items() if flag)
        value = rows[name][place]
        found.append(Misfit(place, *_said(name, value, name in pipeline.categorical)))
    return found


def wrong_labels(target: Binary, rows: pl.DataFrame) -> list[Misfit]:
    """The rows whose ``label``, Float64, is none of the target's, in their order."""
    labels = rows["label"]
    sound = target.takes(labels)
    wrong = [] if sound.all() else np.flatnonzero(~sound.to_numpy()).tolist()
    return [
        Misfit(p, "label_not_valid", f"label = {labels[p]}; a label of {target.name} is {target.labels}") for p in wrong
    ]


def usable(pipeline: Pipeline, examples: pl.DataFrame) -> pl.Series:
    """Which examples a model can learn from or be judged by, Boolean (n,): features and label are sound."""
    found = np.ones(examples.height, dtype=np.bool_)
    for misfit in misfits(pipeline, examples):
        found[misfit.row] = False
    return pl.Series(found) & pipeline.target.takes(examples["label"])


def _wrong(name: str, dtype: pl.DataType, pipeline: Pipeline) -> pl.Expr:
    value = pl.col(name)
    wrong = value.is_null()
    if name in pipeline.inputs and dtype.is_float():
        wrong |= ~value.cast(pl.Float32).is_finite()
    if name in pipeline.categorical and dtype != pl.Boolean:
        wrong |= ~value.is_between(-LARGEST_CODE, LARGEST_CODE)
        if dtype.is_float():
            wrong |= value != value.floor()
    return wrong.fill_null(True)


def _any(flags: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    found = np.zeros(flags.height, dtype=np.bool_)
    for column in flags:
        found |= column.to_numpy()
    return found


def _said(name: str, value: object, category: bool) -> tuple[str, str]:
    """Code and words for a value that no model can take."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "feature_not_finite", f"{name} = {value}"
    if category:
        return "category_not_whole", f"{name} = {value}; a category is a whole number from -2^24 to 2^24"
    return "feature_not_finite", f"{name} = {value}, which is infinite as the 32-bit float that models take"
